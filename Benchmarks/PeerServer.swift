import Foundation
import Lab

/// What an administrator would use instead: dnsmasq for DHCP and TFTP, nginx for HTTP.
struct PeerServer {
  let dnsmasq: RunningProcess
  let nginx: RunningProcess

  init(_ site: Site, tree: PeerTree) async throws {
    let scratch = site.directory + "/peer"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    try Self.loaderScript.write(toFile: tree.directory + "/boot.ipxe", atomically: true, encoding: .utf8)
    try """
    daemon off;
    pid \(scratch)/nginx.pid;
    error_log stderr notice;
    user root;
    events { }
    http {
      access_log \(scratch)/access.log;
      sendfile on;
      tcp_nopush on;
      client_body_temp_path \(scratch)/body;
      proxy_temp_path \(scratch)/proxy;
      fastcgi_temp_path \(scratch)/fastcgi;
      uwsgi_temp_path \(scratch)/uwsgi;
      scgi_temp_path \(scratch)/scgi;
      server { listen 80; root \(tree.directory); }
    }
    """.write(toFile: scratch + "/nginx.conf", atomically: true, encoding: .utf8)
    nginx = try RunningProcess(site.server.command("nginx", "-e", "stderr", "-c", scratch + "/nginx.conf"))
    dnsmasq = try RunningProcess(
      site.server.command(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--log-dhcp",
        "--log-facility=-", "--interface=\(Site.serverInterface)", "--bind-interfaces",
        "--pid-file=\(scratch)/dnsmasq.pid", "--dhcp-leasefile=\(scratch)/leases", "--no-ping",
        "--dhcp-authoritative", "--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h",
        "--dhcp-match=set:ipxe,175", "--dhcp-match=set:uefi,option:client-arch,7",
        "--dhcp-boot=tag:!ipxe,tag:!uefi,undionly.kpxe", "--dhcp-boot=tag:!ipxe,tag:uefi,snponly.efi",
        "--dhcp-boot=tag:ipxe,http://10.77.0.1/boot.ipxe", "--enable-tftp", "--tftp-root=\(tree.directory)"))
    try await dnsmasq.log.line(containing: "started", within: .seconds(20))
    try await nginx.log.line(containing: "start worker process ", within: .seconds(20))
  }

  func stop() async {
    await dnsmasq.stop()
    await nginx.stop()
  }

  private static let loaderScript = """
    #!ipxe
    kernel http://10.77.0.1/kernel initrd=initramfs console=tty0 console=ttyS0,115200 \(Machine.kernelArguments)
    initrd http://10.77.0.1/initramfs
    boot

    """
}
