"""The subcommands, one module per group. A module has ``register(commands)``; ``buildtool.cli`` lists the modules."""
