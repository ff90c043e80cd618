"""Drives the module that stands between custodyd and SoftHSM in the tests (Tests/FaultModule), by its own functions:

    faults.py create FILE     makes its control file
    faults.py hang FILE       from now on every call of the module hangs
    faults.py clear FILE      lets go what hangs
"""
import ctypes
import sys

ANY, HANG, RULES = 0xFFFFFFFF, 3, 32
module = ctypes.CDLL("/lab/bin/libcustody-fault-module.so")
module.fault_control_create.restype = module.fault_control_open.restype = ctypes.c_void_p
module.fault_arm.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32] + [ctypes.c_uint64] * 3 + [ctypes.c_uint32]
module.fault_clear.argtypes = [ctypes.c_void_p, ctypes.c_int]

what, path = sys.argv[1:]
control = (module.fault_control_create if what == "create" else module.fault_control_open)(path.encode())
if not control:
    sys.exit(f"{path} can't be used as a control file")
if what == "hang" and module.fault_arm(control, ANY, HANG, 0, 1, 0, 0) < 0:
    sys.exit("the rule could not be armed")
if what == "clear":
    for rule in range(RULES):
        module.fault_clear(control, rule)
