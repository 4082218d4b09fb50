"""Many pictures: which ones, in which order, and what became of them."""

from .compare import write_comparison
from .folder import FolderOptions, FolderSummary, upscale_files, upscale_jobs
from .plan import Job, Shard, is_pattern, plan
from .report import write_report

__all__ = [
    "FolderOptions",
    "FolderSummary",
    "Job",
    "Shard",
    "is_pattern",
    "plan",
    "upscale_files",
    "upscale_jobs",
    "write_comparison",
    "write_report",
]
