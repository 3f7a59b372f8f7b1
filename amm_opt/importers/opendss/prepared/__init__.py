"""What is changed in a circuit before it becomes a network: several sources, split-phase service."""
