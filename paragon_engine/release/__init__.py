"""From a checkpoint to what a model author publishes: exported, proved equal, compared, packed."""
