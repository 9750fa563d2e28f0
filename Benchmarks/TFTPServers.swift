import Foundation
import Glibc
import Lab
import Logging
import NetworkTypes
import ServiceLifecycle
import TFTP
import UnixSignals

/// A TFTP server that is measured: ours, or one that a system has.
enum TFTPServerKind: String, CaseIterable, Sendable {
  case ours = "Perseid"
  case hpa = "tftpd-hpa"
  case atftpd
  case dnsmasq

  /// Whether it knows RFC 7440.
  var hasWindows: Bool { self == .ours || self == .atftpd }

  /// - Parameters:
  ///   - root: The directory of the files to serve.
  ///   - peers: Where the packages of tftpd-hpa and atftpd, which do not go together on one system, are unpacked.
  func command(root: String, address: IPv4Address, peers: String) throws -> [String] {
    switch self {
    case .ours:
      let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      return [program, "tftp-server", root]
    case .hpa:
      return [
        peers + "/usr/sbin/in.tftpd", "--listen", "--foreground", "--ipv4", "--user", "root", "--address",
        "\(address):69", "--secure", root,
      ]
    case .atftpd:
      return [
        peers + "/usr/sbin/atftpd", "--daemon", "--no-fork", "--user", "root.root", "--bind-address", "\(address)",
        "--port", "69", "--maxthread", "1200", "--logfile", "/dev/null", root,
      ]
    case .dnsmasq:
      return [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=",
        "--enable-tftp", "--tftp-root=\(root)", "--tftp-max=2000", "--listen-address=\(address)", "--bind-interfaces",
      ]
    }
  }
}

/// `perseid-bench tftp-server DIRECTORY`: our server alone, with a directory's files as content.
struct MeasuredServer: ContentSource, TransferObserver {
  private let contents: [String: Content]

  init(directory: String) throws {
    var contents: [String: Content] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      let path = directory + "/" + name
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
      contents[name] = Content(parts: [.file(path: path, size: size ?? 0)])
    }
    self.contents = contents
  }

  func content(named name: String, for client: IPv4Address, at server: IPv4Address) async -> ContentAnswer {
    contents[name].map { .content($0) } ?? .notFound("there is no such file")
  }

  func observed(_ event: TransferEvent) {}

  func run() async throws {
    let everyone = IPv4Subnet(containing: IPv4Address(10, 0, 0, 0), prefixLength: 8).map { [$0] } ?? []
    let silent = Logger(label: "tftp", factory: { _ in SwiftLogNoOpLogHandler() })
    let server = try TFTPServer(
      ServerConfiguration(subnets: everyone), source: self, observer: self, logger: silent)
    try await ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm], logger: silent).run()
  }
}
