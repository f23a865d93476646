__version__: str

from .data import AdaptationDataModule as AdaptationDataModule
from .data import CityscapesDataModule as CityscapesDataModule
from .data import FolderDataModule as FolderDataModule
from .data import GTA5DataModule as GTA5DataModule
from .data import RobotCarDataModule as RobotCarDataModule
from .data import SYNTHIADataModule as SYNTHIADataModule
from .hub import SegmentationModel as SegmentationModel
from .hub import load_model as load_model
from .training import HIASTModule as HIASTModule
from .training import OnlineModule as OnlineModule
from .training import SourceOnlyModule as SourceOnlyModule
from .training import WarmupModule as WarmupModule
