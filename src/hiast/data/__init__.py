"""From files to samples: layouts of datasets, loading, augmentation and checks."""

import lazy_loader

# Lightning and albumentations take seconds to import, and --help of a command needs neither: a name is imported when it
# is first used. The names and their modules are listed once, in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
