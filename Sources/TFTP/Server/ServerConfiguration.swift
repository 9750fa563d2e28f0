import Glibc
package import NetworkTypes

/// What a TFTP server is told.
package struct ServerConfiguration: Hashable, Sendable {
  /// The address to listen at; 0.0.0.0: every address. Answers leave from the address that was asked.
  package var address: IPv4Address
  /// UDP port of requests; 0: any free one, see `TFTPServer.port`.
  package var port: Int
  /// Whether transfers run from the same port, for firewalls, instead of ports of their own (RFC 1350 section 4),
  /// see `TransferPort`. Windows are of one block then: forged ACKs must not draw more.
  package var usesSinglePort: Bool
  /// Only clients in these are answered. Anyone else hears nothing at all.
  package var subnets: [IPv4Subnet]
  /// Bytes of the largest packet that reaches clients in one piece.
  package var mtu: Int
  /// Blocks sent ahead of their acknowledgement, at most.
  package var windowSize: Int
  package var numbering: BlockNumbering
  /// Transfers at a time; the system's limit of open files may allow fewer.
  package var maximumTransfers: Int
  /// Of those, with one client address.
  package var maximumTransfersPerClient: Int

  package init(
    address: IPv4Address = .any, port: Int = 69, usesSinglePort: Bool = false, subnets: [IPv4Subnet], mtu: Int = 1500,
    windowSize: Int = 64, numbering: BlockNumbering = .rollsOverToZero, maximumTransfers: Int = 4096,
    maximumTransfersPerClient: Int = 1024
  ) {
    self.address = address
    self.port = port
    self.usesSinglePort = usesSinglePort
    self.subnets = subnets
    self.mtu = mtu
    self.windowSize = windowSize
    self.numbering = numbering
    self.maximumTransfers = maximumTransfers
    self.maximumTransfersPerClient = maximumTransfersPerClient
  }
}

/// Why the server cannot start; the text names the port and the remedy.
package struct TFTPStartError: Error, Hashable, CustomStringConvertible {
  package let description: String

  init(_ configuration: ServerConfiguration, _ error: SystemError) {
    let at = configuration.address == .any ? "" : " of \(configuration.address)"
    let remedy =
      switch error.number {
      case EADDRINUSE:
        "another TFTP server has it (`ss -lunp sport = :\(configuration.port)` shows which). Stop that one, "
          + "or set another tftp.port"
      case EACCES, EPERM:
        "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE. Grant it, or set another tftp.port"
      case EADDRNOTAVAIL:
        "no interface has this address. Give it to the interface first (`ip address` shows what there is)"
      default: "\(error)"
      }
    description = "TFTP cannot listen on UDP port \(configuration.port)\(at): \(remedy)."
  }

  /// The port is no port.
  init(port: Int) {
    description = "TFTP cannot listen on UDP port \(port): set tftp.port to a number from 1 to 65535."
  }
}
