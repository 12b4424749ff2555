"""What the error of a call says of a service, to a breaker and to an `AdaptiveConcurrency`: one rule, which is that of `Retry` and the rates."""

from __future__ import annotations

import datetime
import math
import sys
import types

import pytest
from helpers import run_script

import sluicegate
from sluicegate.testing import ManualClock
