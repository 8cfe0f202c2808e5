"""The potential in the engines that people use."""
