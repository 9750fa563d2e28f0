// What Swift cannot call or see by itself: variadic functions, macros that compute, calls that the
// C library hides behind feature tests. Every function carries the prefix and says why it is here.
#ifndef CLINUX_H
#define CLINUX_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "clinux_bench.h"
#include "clinux_capsule.h"
#include "clinux_dhcp.h"
#include "clinux_provisioner.h"
#include "clinux_stage1.h"

#include "clinux_tftp.h"
#endif
