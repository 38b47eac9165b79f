"""Pictures of training material and of what a model makes of it."""
