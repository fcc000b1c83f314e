"""Whatever a partner publishes, and whatever somebody is called, is shown as text on every page, in every file, and nothing more."""
