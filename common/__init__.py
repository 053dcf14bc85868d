"""What every room shares: the one error type, and files that appear whole or not at all. Standard library only."""

from harmonyrt.common.errors import HarmonyError, HarmonyNote, HarmonyWarning, OutOfMemory, WorkFailed

__all__ = ["HarmonyError", "HarmonyNote", "HarmonyWarning", "OutOfMemory", "WorkFailed"]
