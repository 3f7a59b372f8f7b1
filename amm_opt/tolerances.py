"""Every tolerance that decides what counts, in one table.

Limits of a network model. Each limited quantity has a tolerance of its own, ``quantities.tolerance``. How far beyond
its limit a quantity may be is a multiple of that, a slack; whoever checks later allows more, so that nothing passes
one check and fails the next by rounding:

    0 full service is feasible  <  SEARCH_SLACK  <  ROW_SLACK  <  SOLVED_SLACK  <  SERVED_SLACK  <  violation
"""

THERMAL_TOLERANCE = 1e-5
"""Tolerance of a flow, as a fraction of the rating."""
VOLTAGE_TOLERANCE = 2e-6
"""Tolerance of a squared voltage, pu^2: about 1e-6 of the voltage."""
SEARCH_SLACK = 0.01
"""Of rules that search by sweeps, without a solver."""
TANGENT_SLACK = 0.001
"""Of a program that is solved by tangents of its limits: less than all others, since stages follow on each other."""
ROW_SLACK = 0.1
"""Beyond it a network row joins a program, and a deficit makes a price."""
SOLVED_SLACK = 1.0
"""Of what a solver returns."""
SERVED_SLACK = 2.0
"""Of what is served, after it was clipped to requests and added up."""
BINDING = 10.0
"""A limit binds within this many of its tolerances: 1e-4 of a rating, 1e-5 pu."""
THERMAL_VIOLATION = 1e-4
"""A branch is in violation beyond its rating by more than this fraction of it: 10 tolerances."""
VOLTAGE_VIOLATION_PU = 1e-5
"""A bus is in violation beyond its band by more than this: about 10 tolerances."""

AUDIT_TOLERANCE = 1e-6
"""Residuals and duality gap of a solve, relative."""
CONIC_AUDIT_TOLERANCE = 1e-5
"""The same on a conic network model, where solvers stall earlier."""
DECLARED_TOLERANCE = 1e-5
"""By how much a program that is solved as declared may break its own constraints."""
EXACT_GAP = 1e-5
"""A relaxed network model counts as exact where its gap, as a fraction of the rating squared, is at most this."""

REQUEST_TOLERANCE_KW = 1e-6
"""A request of at most this many kW, a milliwatt, is none: ``Requests`` make it 0."""
REQUEST_SLACK = 1e-5
"""How far outside its request a solver may leave an allocation, relative to the request or 1 kW."""
CONNECTION_SLACK = 1e-6
"""How far beyond a connection limit a power may be, relative to the limit."""
WHOLE_GRANT = 1.0 - 1e-7
"""A grant of at least this share of an offer counts as the whole offer."""
ROUNDING = 1e-9
"""Use of a limit below this is rounding."""
BEHIND = 0.1
"""Behind a limit is who uses it at least this much per kW, relative to who uses it most (ours)."""
