"""Distillation methods, one a file, and the LightningModules that train them (`lit`)."""
