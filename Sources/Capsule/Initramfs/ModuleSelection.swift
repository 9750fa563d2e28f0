/// Which kernel modules stage 1 may need: to reach the appliance over any wired network, to keep a root
/// in memory, and to see local disks. The running system has all the others in its own root.
enum ModuleSelection {
  /// Directories below the modules directory, taken whole.
  private static let directories = [
    // Every wired card, and what drives the line behind it.
    "kernel/drivers/net/ethernet/", "kernel/drivers/net/phy/", "kernel/drivers/net/mdio/", "kernel/drivers/net/pcs/",
    "kernel/drivers/net/usb/", "kernel/drivers/net/hyperv/", "kernel/drivers/net/vmxnet3/",
    "kernel/drivers/net/bonding/", "kernel/net/8021q/", "kernel/net/packet/",
    // Disks and the buses they are on.
    "kernel/drivers/virtio/", "kernel/drivers/nvme/host/", "kernel/drivers/ata/", "kernel/drivers/scsi/megaraid/",
    "kernel/drivers/scsi/mpt3sas/", "kernel/drivers/scsi/aacraid/", "kernel/drivers/scsi/smartpqi/",
    "kernel/drivers/message/fusion/", "kernel/drivers/usb/host/",
    // What a root can be on or made of.
    "kernel/fs/overlayfs/", "kernel/fs/squashfs/", "kernel/fs/erofs/", "kernel/fs/ext4/", "kernel/fs/xfs/",
    "kernel/fs/fat/", "kernel/fs/isofs/", "kernel/fs/efivarfs/",
    "kernel/drivers/block/zram/",
  ]

  /// Single modules, wherever they are.
  private static let names: Set<String> = [
    "virtio_net", "xen_netfront", "mii", "af_packet", "ib_ipoib", "mlx4_ib", "mlx5_ib",
    "virtio_blk", "xen_blkfront", "loop", "nbd", "sd_mod", "sr_mod", "virtio_scsi", "hv_storvsc", "vmw_pvscsi", "hpsa",
    "usb_storage", "uas", "vmd",
    "hv_vmbus", "hv_utils", "pci_hyperv", "virtio_console", "virtio_rng", "qemu_fw_cfg",
    "nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8",
    "crc32c_generic", "crc32c_intel", "lzo_rle", "lzo", "lz4", "zstd",
    // A keyboard for the rescue shell.
    "usbhid", "hid_generic", "atkbd",
  ]

  /// For testing and for boards that nobody boots over a network: not worth their bytes.
  private static let left: Set<String> = ["pata_legacy", "mdio_netlink", "libertas_tf_usb"]

  /// - Parameter path: Below the modules directory: `kernel/drivers/net/ethernet/intel/e1000/e1000.ko.xz`.
  static func isWanted(_ path: String) -> Bool {
    let name = Module.name(ofPath: path)
    return !left.contains(name) && (names.contains(name) || directories.contains { path.hasPrefix($0) })
  }
}
