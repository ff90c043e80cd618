// A PKCS#11 module for tests that stands between a program and the real module and spoils what it is told to spoil.
//
// In the environment: CUSTODY_FAULT_MODULE, the path of the real module, and CUSTODY_FAULT_CONTROL, the path of the control
// file (see FaultControl.h), which must be there.
#pragma once

#include <p11-kit/pkcs11.h>
