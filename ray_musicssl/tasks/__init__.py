"""Downstream tasks: readers, splits and metrics. One file a data set, listed in the registry below."""
