// libpcap, for DHCP with clients that have no address yet: frames in and out of one interface.
#include <pcap/pcap.h>
