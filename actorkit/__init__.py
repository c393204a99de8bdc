"""actorkit: an actor-model runtime for Python on trio."""

# How the package is laid out, from low to high:
#
#   errors, messages, events    the words: what can go wrong, what travels, what has happened
#   storage/                    how messages are written, and the stores and files that they are written to
#   policy/                     decisions, as pure functions and values: no trio, no clock, no chance, no I/O
#   _runtime/                   trio; follow a message through outlets, mailbox, dispatcher, cell, recovery, supervisor
#   cli/                        the command line, a module for each command
#
# This file is the public face: import everything from here, and the classes of events from actorkit.events.

# Actors and ports
from actorkit._runtime.actor import Actor
from actorkit._runtime.ports import InPort, OutEnd, OutPort, Wire, in_batch, in_port, wire
from actorkit._runtime.topics import Topic
from actorkit._runtime.outlets import Sender
from actorkit._runtime.timers import Timer
from actorkit._runtime.log import ActorLog
from actorkit.messages import Down, ExitReason

# Trees
from actorkit._runtime.specs import ChildSpec, SupervisorSpec, child, dynamic_supervisor, supervisor
from actorkit._runtime.group_specs import KeyedSpec, PoolSpec, keyed, pool
from actorkit._runtime.routing import Route, by_key, least_loaded, round_robin
from actorkit.policy.restart import AutoShutdown, OnExhausted, Restart, Shutdown, Strategy

# Running them
from actorkit._runtime.run import RunReport, run
from actorkit._runtime.system import System, open_system
from actorkit._runtime.ref import ActorRef, PortRef
from actorkit._runtime.reply_streams import ReplyStream
from actorkit._runtime.child import ChildCounts, ChildInfo
from actorkit._runtime.supervisor import Supervisor
from actorkit._runtime.cascade_manager import CascadeManager
from actorkit._runtime.graph import DependencyGraph
from actorkit._runtime.health_monitor import SystemHealth
from actorkit.policy.cascade import CascadePhase, CascadeSettings
from actorkit.policy.health import Health, HealthStatus
from actorkit.policy.health_rules import HealthAction, HealthRule
from actorkit._runtime.event_stream import Subscription
from actorkit._runtime.ledger import Ledger, PortCounts

# What survives the process
from actorkit._runtime.checkpoint_store import Checkpoint
from actorkit._runtime.checkpoints import CheckpointRecoveryManager
from actorkit._runtime.cuts import Cut
from actorkit.storage.memory import MemoryStore
from actorkit.storage.postgres import PostgresStore
from actorkit.storage.sqlite import SqliteStore
from actorkit.storage.store import Store

# Failure and recovery
from actorkit.policy.classifier import Classification, Classifier
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.recovery import DeadLetterReason, RecoveryPolicy
from actorkit.policy.rules import RecoveryAction, Rule
from actorkit.policy.overflow import OverflowStrategy
from actorkit.policy.retry import ExponentialBackoffRetry, LinearBackoffRetry, NoRetry, RetryPolicy
from actorkit.policy.retry_budget import RetryBudget
from actorkit.policy.breaker import CircuitState
from actorkit._runtime.guards import Bulkhead, CircuitBreaker, Throttle
from actorkit._runtime.dead_letters import DeadLetterQueue
from actorkit._runtime.letters import DeadLetter, UnreadableMessage
from actorkit.errors import (
    ActorkitError,
    ActorNotRunning,
    ActorUnhealthy,
    AskFailed,
    BulkheadFull,
    CallRejected,
    CheckpointError,
    CircuitOpenError,
    CommitNeeded,
    CommunicationError,
    DeadlockError,
    DecodingError,
    DefinitionError,
    DependencyError,
    EncodingError,
    LedgerImbalance,
    MailboxFull,
    MessageTypeError,
    NoCheckpointError,
    PermanentError,
    PoisonMessageError,
    PortConnectionError,
    PortDefinitionError,
    PortError,
    ReportedError,
    ResourceError,
    RetryExhausted,
    SpecError,
    SpecTypeError,
    StashError,
    StateVersionError,
    StorageError,
    StoreBlocked,
    SupervisionError,
    TransientError,
    UnknownActor,
    ValidationError,
    WiringError,
)

__all__ = [
    "Actor",
    "ActorLog",
    "ActorNotRunning",
    "ActorRef",
    "ActorUnhealthy",
    "ActorkitError",
    "AskFailed",
    "AutoShutdown",
    "Bulkhead",
    "BulkheadFull",
    "CallRejected",
    "CascadeManager",
    "CascadePhase",
    "CascadeSettings",
    "Checkpoint",
    "CheckpointError",
    "CheckpointRecoveryManager",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "Classification",
    "Classifier",
    "CommitNeeded",
    "CommunicationError",
    "Cut",
    "DeadLetter",
    "DeadLetterQueue",
    "DeadLetterReason",
    "DeadlockError",
    "DecodingError",
    "DefinitionError",
    "DependencyError",
    "DependencyGraph",
    "Down",
    "EncodingError",
    "ErrorCategory",
    "ErrorContext",
    "ErrorSeverity",
    "ExitReason",
    "ExponentialBackoffRetry",
    "Health",
    "HealthAction",
    "HealthRule",
    "HealthStatus",
    "InPort",
    "KeyedSpec",
    "Ledger",
    "LedgerImbalance",
    "LinearBackoffRetry",
    "MailboxFull",
    "MemoryStore",
    "MessageTypeError",
    "NoCheckpointError",
    "NoRetry",
    "OnExhausted",
    "OutEnd",
    "OutPort",
    "OverflowStrategy",
    "PermanentError",
    "PoisonMessageError",
    "PoolSpec",
    "PortConnectionError",
    "PortCounts",
    "PortDefinitionError",
    "PortError",
    "PortRef",
    "PostgresStore",
    "RecoveryAction",
    "RecoveryPolicy",
    "ReplyStream",
    "ReportedError",
    "ResourceError",
    "Restart",
    "RetryBudget",
    "RetryExhausted",
    "RetryPolicy",
    "Route",
    "Rule",
    "RunReport",
    "Sender",
    "Shutdown",
    "SpecError",
    "SpecTypeError",
    "SqliteStore",
    "StashError",
    "StateVersionError",
    "StorageError",
    "Store",
    "StoreBlocked",
    "Strategy",
    "Subscription",
    "SupervisionError",
    "Supervisor",
    "SupervisorSpec",
    "System",
    "SystemHealth",
    "Throttle",
    "Timer",
    "Topic",
    "TransientError",
    "UnknownActor",
    "UnreadableMessage",
    "ValidationError",
    "Wire",
    "WiringError",
    "by_key",
    "child",
    "dynamic_supervisor",
    "in_batch",
    "in_port",
    "keyed",
    "least_loaded",
    "open_system",
    "pool",
    "round_robin",
    "run",
    "supervisor",
    "wire",
]
