"""The shells that bgresp can be completed in."""

from enum import StrEnum


class Shell(StrEnum):
    """A shell, by the word that `bgresp completions` takes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
