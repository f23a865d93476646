def can_use_triton(l,u): return False
def why_not_triton(l,u): return "x"
