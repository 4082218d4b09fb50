"""Pictures in, training pairs out."""
