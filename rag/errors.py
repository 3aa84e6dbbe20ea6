"""Every error a user can meet, as a tree.

    RagError                     code                exit
    |-- UsageError               usage               2     a flag or setting makes no sense
    |   |-- SettingsError        settings            2     footnote.toml, FOOTNOTE_* or a flag
    |   `-- InputNotFound        input_not_found     2     a path that is not there
    |-- StoreError               index               3     anything about a built index
    |   |-- IndexMissing         index_missing       3
    |   |-- IndexDamaged         index_damaged       3     a byte differs from the manifest
    |   |-- IndexLocked          index_locked        3     another process is writing
    |   |-- IndexMismatch        index_mismatch      3     built with another embedder or schema
    |   |-- IndexWriteFailed     index_write_failed  3     disk full, read-only folder
    |   `-- BundledModelMissing  bundled_model       3     a model file of the installation
    |-- ModelError               model               4     the language model
    |   |-- ModelNotFound        model_not_found     4
    |   |-- EngineMissing        engine_missing      4     its package is not installed
    |   |-- DownloadFailed       download_failed     4     no network, no permission, a wrong hash
    |   |-- ModelLoadFailed      model_load_failed   4
    |   |   |-- ModelDamaged     model_damaged       4     a shard is absent, cut, or no weights at all
    |   |   |-- ModelRefused     model_refused       4     it would run programs, or answer nonsense
    |   |   |-- NotQuantized     not_quantized       4     awq was asked of a model that carries none
    |   |   `-- DoesNotFit       does_not_fit        4     more memory than there is, or than the cap
    |   |-- ModelDied            model_died          4     the worker process ended
    |   `-- PromptTooLong        prompt_too_long     4
    |-- DocumentError            document            5     one file; ends up in the ledger
    |   |-- Unreadable           unreadable          5     damaged, encrypted, wrong kind
    |   `-- TooMuch              too_much            5     over a time, memory or size limit
    |-- HistoryError             history             2     the page's conversations cannot be read or kept
    |   |-- HistoryDamaged       history_damaged     2     no such database, or of a newer version
    |   `-- ConversationGone     conversation_gone   2     deleted meanwhile, as in another tab
    `-- EvaluationError          evaluation          2     a dataset that cannot be used

`message` says what happened, `fix` what the user can do about it.
"""

from __future__ import annotations


class RagError(Exception):
    """Base of all errors that carry a message and a fix for the user."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The error in the form that `--json` prints."""
        return {"error": {"code": self.code, "message": self.message, "fix": self.fix}}


class UsageError(RagError):
    code, exit_code = "usage", 2


class SettingsError(UsageError):
    code = "settings"


class InputNotFound(UsageError):
    code = "input_not_found"


class EvaluationError(RagError):
    code, exit_code = "evaluation", 2


class StoreError(RagError):
    code, exit_code = "index", 3


class IndexMissing(StoreError):
    code = "index_missing"


class IndexDamaged(StoreError):
    code = "index_damaged"


class IndexLocked(StoreError):
    code = "index_locked"


class IndexMismatch(StoreError):
    code = "index_mismatch"


class IndexWriteFailed(StoreError):
    code = "index_write_failed"


class BundledModelMissing(StoreError):
    code = "bundled_model"


class ModelError(RagError):
    code, exit_code = "model", 4


class ModelNotFound(ModelError):
    code = "model_not_found"


class EngineMissing(ModelError):
    code = "engine_missing"


class ModelLoadFailed(ModelError):
    code = "model_load_failed"


class ModelDamaged(ModelLoadFailed):
    code = "model_damaged"


class ModelRefused(ModelLoadFailed):
    code = "model_refused"


class NotQuantized(ModelLoadFailed):
    code = "not_quantized"


class DoesNotFit(ModelLoadFailed):
    code = "does_not_fit"


class DownloadFailed(ModelError):
    code = "download_failed"


class ModelDied(ModelError):
    code = "model_died"


class PromptTooLong(ModelError):
    code = "prompt_too_long"


class DocumentError(RagError):
    code, exit_code = "document", 5


class Unreadable(DocumentError):
    code = "unreadable"


class TooMuch(DocumentError):
    code = "too_much"


class HistoryError(RagError):
    code, exit_code = "history", 2


class HistoryDamaged(HistoryError):
    code = "history_damaged"


class ConversationGone(HistoryError):
    code = "conversation_gone"


def unforeseen(error: Exception) -> RagError:
    """What a page or a server tells of an error that nobody foresaw."""
    return RagError(
        f"something went wrong that should not have: {type(error).__name__}: {error}",
        "Try again. The terminal in which Footnote runs shows more.",
    )
