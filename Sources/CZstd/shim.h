// libzstd, for the frames of a capsule's root file system and for its initramfs.
#include <zstd.h>
#include <zstd_errors.h>
