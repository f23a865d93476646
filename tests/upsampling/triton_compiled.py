"""Compile the Triton kernels for a GPU (sm_90), which needs none; a program of its own, see triton_interpreted."""

from __future__ import annotations

import sys
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_kernel

from hiast.objectives.fused import triton_cross_entropy, triton_terms
from hiast.upsampling import triton_readout
from hiast.upsampling.triton_support import tile

TYPES = {
    "*fp32": "student teacher factors first second sums logits pull corners maps confidence "
    "rows_weight columns_weight",
    "*i32": "rows_first columns_first",
    "*u8": "labels",
    "fp32": "log2_e",
}
TYPE_OF = {name: kind for kind, names in TYPES.items() for name in names.split()}


def compiled(kernel: Any, classes: int, **constants: Any) -> None:
    class_block, pixel_block, warps = tile(classes)
    constants |= {"class_block": class_block, "pixel_block": pixel_block}
    signature = {
        name: "constexpr" if name in constants else TYPE_OF.get(name, "i32") for name in kernel.arg_names
    }
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    binary = compile_kernel(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    assert binary.asm["cubin"]


compiled(triton_terms._kernel, 19, with_teacher=True, with_gradient=True, region=0)
compiled(triton_cross_entropy._kernel, 19, with_gradient=True)
compiled(triton_readout._kernel, 150)
sys.stdout.write("compiled\n")
