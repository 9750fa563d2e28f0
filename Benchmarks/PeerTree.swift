import Foundation
import Lab

/// The files that the peer's site serves, made from the same root file system as the capsule:
/// a kernel, an initramfs of busybox, zstd and a script, and the root as root.tar.zst with its digest.
struct PeerTree {
  /// Holds `kernel`, `initramfs`, `root.tar.zst`, `root.sha256` (for HTTP) and the loaders (for TFTP).
  let directory: String

  /// Bytes of the initramfs and of the compressed root.
  let initramfsBytes: Int
  let rootBytes: Int

  init(tree: String, directory: String) async throws {
    self.directory = directory
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let script = directory + "/init"
    try Self.initScript.write(toFile: script, atomically: true, encoding: .utf8)
    try await Command(["sh", "-euc", Self.assembly, "sh", tree, directory])
      .run(timeout: .seconds(600)).check()
    initramfsBytes = try Self.size(directory + "/initramfs")
    rootBytes = try Self.size(directory + "/root.tar.zst")
  }

  private static func size(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.size] as? Int) ?? 0
  }

  /// $1: the root's tar archive, $2: where to.
  private static let assembly = """
    tree=$1 out=$2
    cd "$out"
    mkdir -p image/bin image/proc image/sys image/dev image/newroot image/modules image/usr/bin
    cp /usr/lib/ipxe/undionly.kpxe /usr/lib/ipxe/snponly.efi .
    names=$(tar -tf "$tree" | grep -E '^\\./boot/vmlinuz-|/modules/[^/]+/kernel/(drivers/(net/(virtio_net|net_failover)|virtio/virtio(_pci|_pci_modern_dev|_pci_legacy_dev|_ring)?)|net/core/failover|net/packet/af_packet)\\.ko')
    tar -xf "$tree" -C image/modules --transform 's,.*/,,' $names
    mv image/modules/vmlinuz-* kernel
    for module in image/modules/*.xz; do [ ! -e "$module" ] || xz -d "$module"; done
    cp /bin/busybox image/bin/busybox
    cp "$(command -v zstd)" image/usr/bin/zstd
    for library in $(ldd "$(command -v zstd)" | grep -o '/[^ ]*'); do
      mkdir -p "image$(dirname "$library")"
      cp -L "$library" "image$library"
    done
    cp init image/init
    chmod 755 image/init
    (cd image && find . | cpio --quiet -o -H newc) | zstd -q -19 -o initramfs
    zstd -q -T0 -f -o root.tar.zst "$tree"
    sha256sum root.tar.zst > root.sha256
    """

  /// What an administrator would write: an address, the root, its digest, unpacked, and the real init.
  private static let initScript = """
    #!/bin/busybox sh
    /bin/busybox --install -s /bin
    export PATH=/bin:/usr/bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover \\
        virtio_net af_packet; do
      [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko
    done
    fail() { echo "peer: $1 failed"; exec sh; }
    ip link set lo up
    ip link set eth0 up
    cat > /bin/lease <<'END'
    #!/bin/sh
    [ "$1" = bound ] && ip address add "$ip/$mask" dev eth0
    exit 0
    END
    chmod 755 /bin/lease
    udhcpc -i eth0 -n -q -s /bin/lease || fail udhcpc
    echo "peer: fetching"
    wget -q -O /root.tar.zst http://10.77.0.1/root.tar.zst || fail wget
    wget -q -O /root.sha256 http://10.77.0.1/root.sha256 || fail wget
    (cd / && sha256sum -c root.sha256) || fail sha256sum
    mount -t tmpfs -o mode=755 tmpfs /newroot
    zstd -dc /root.tar.zst | tar -x -C /newroot || fail unpacking
    rm /root.tar.zst
    mount --move /dev /newroot/dev
    mount --move /proc /newroot/proc
    mount --move /sys /newroot/sys
    echo "peer: switching root"
    exec switch_root /newroot /sbin/init

    """
}
