// libpcap, for DHCP with clients that have no address yet: frames in and out of one interface.
// The macro is set as in CLinux: system types seen by both modules must look the same to both.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pcap/pcap.h>
