"""The real store over the Glance in memory, under a scheduler that decides who runs, fails or dies."""
