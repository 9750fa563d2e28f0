import CLinux
import NetworkTypes

/// A UDP port of ours from which transfers run.
///
/// RFC 1350 section 4 knows a transfer by the ports of both its ends, so several clients can have one port of ours.
/// Transfers without windows share one: what all of them said is then read in one system call, and answered in another.
/// Whoever has a transfer knows the port of others' then, and could forge their ACKs; each draws one block, no more.
/// A transfer with a window, of which an ACK draws many, has a port of its own, which a forger has to guess.
final class TransferPort {
  /// Transfers that share a port, over all its life: so its number changes, and none holds up many.
  static let capacity = 64
  /// Bytes that may wait in the kernel, in either direction: each client's one packet, large ones too.
  private static let bufferSize = 2 << 20

  /// Tells the port from others that are open now.
  let index: Int
  let localAddress: UInt32
  let isShared: Bool
  private let socket: UDPSocket
  /// Of those who have, or had, a transfer here. Nobody gets a second one: what is late from the first would be taken
  /// for an answer in the second.
  private var tokens: [Peer: UInt64] = [:]
  /// Transfers that are not over.
  fileprivate(set) var running = 0

  fileprivate init(index: Int, localAddress: UInt32, isShared: Bool) throws(SystemError) {
    self.index = index
    self.localAddress = localAddress
    self.isShared = isShared
    socket = try UDPSocket(address: IPv4Address(rawValue: localAddress), port: 0, tellsLocalAddress: false)
    guard isShared else { return }
    clinux_tftp_receive_buffer(socket.descriptor, Int32(Self.bufferSize))
    clinux_tftp_send_buffer(socket.descriptor, Int32(Self.bufferSize))
  }

  var descriptor: Int32 { socket.descriptor }

  /// The transfer with this client, maybe over already; `nil`: there never was one.
  subscript(peer: Peer) -> UInt64? { tokens[peer] }

  fileprivate func takes(_ peer: Peer) -> Bool { tokens.count < Self.capacity && tokens[peer] == nil }

  func add(_ token: UInt64, with peer: Peer) {
    tokens[peer] = token
    running += 1
  }

  /// A second socket at this port, to which only this client's packets go, for a transfer that is alone: the kernel looks
  /// up no route for each packet then. Strangers' packets come to the port as ever. There is one at a time.
  func line(to peer: Peer) throws(SystemError) -> UDPSocket {
    try UDPSocket(adopting: clinux_tftp_connected(descriptor, peer.address.rawValue, peer.port))
  }
}

/// The ports that are open.
struct PortTable {
  private var ports: [TransferPort?] = []
  private var free: [Int] = []
  /// For the next transfer without windows, by our address.
  private var shared: [UInt32: TransferPort] = [:]

  subscript(index: Int) -> TransferPort? { index < ports.count ? ports[index] : nil }

  /// A port for a transfer with this client.
  /// - Parameter open: Is told of a new one.
  mutating func port(
    for peer: Peer, at localAddress: UInt32, isShared: Bool, _ open: (TransferPort) throws(SystemError) -> Void
  ) throws(SystemError) -> TransferPort {
    if isShared, let port = shared[localAddress], port.takes(peer) { return port }
    let index = free.last ?? ports.count
    let port = try TransferPort(index: index, localAddress: localAddress, isShared: isShared)
    try open(port)
    if index == ports.count { ports.append(port) } else { ports[free.removeLast()] = port }
    if isShared { shared[localAddress] = port }
    return port
  }

  /// One of its transfers is over. The last one closes it.
  mutating func release(_ port: TransferPort) {
    port.running -= 1
    guard port.running == 0 else { return }
    ports[port.index] = nil
    free.append(port.index)
    if shared[port.localAddress] === port { shared[port.localAddress] = nil }
  }
}
