"""Policies that ship with the project, named by class; yours are named by import path."""

from curricula.policies.adaptive import Adaptive
from curricula.policies.distilled import Distilled
from curricula.policies.fixed import Fixed
from curricula.policies.hierarchical import Hierarchical
from curricula.policies.mixed import Mixed
from curricula.policies.on_policy import OnPolicy
from curricula.policies.routed import Routed
from curricula.policies.sequential import Sequential
from curricula.policies.staged import Staged

__all__ = ["Adaptive", "Distilled", "Fixed", "Hierarchical", "Mixed", "OnPolicy", "Routed", "Sequential", "Staged"]
