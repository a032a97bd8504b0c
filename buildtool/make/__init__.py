"""Effects: what a build does. One subprocess door (``runner``), one content-addressed store (``store``)."""
