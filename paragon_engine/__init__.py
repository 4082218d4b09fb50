"""Running a model of the family: pictures in and out, tiling, folders, progress, the models that ship.

Knows nothing of argparse, ComfyUI or any other host; `deploy`, `nodes` and `training` call it.
"""
