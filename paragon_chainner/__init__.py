"""ParagonSR in chaiNNer: a start-up hook, and what installs it.

Every Python that has this package installed imports this file when it starts, so it stays empty.
"""
