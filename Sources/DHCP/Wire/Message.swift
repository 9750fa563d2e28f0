package import NetworkTypes

/// A BOOTP or DHCP message (RFC 2131, section 2).
package struct DHCPMessage: Equatable, Sendable {
  /// The fixed part and the cookie: the least a message can have.
  package static let minimumLength = 240
  /// What is read at most, in bytes: well beyond any Ethernet frame that is not hostile.
  package static let maximumLength = 4096
  /// Relays and old clients drop shorter replies (RFC 951 gives a BOOTP message 300 bytes).
  package static let minimumReplyLength = 300
  /// 99.130.83.99 (RFC 2131, section 3).
  package static let cookie: UInt32 = 0x6382_5363

  package enum Operation: UInt8, Hashable, Sendable {
    case request = 1
    case reply = 2
  }

  package var operation: Operation
  /// `htype` and `hlen` and `chaddr`.
  package var hardware: HardwareAddress
  package var hops: UInt8
  package var transaction: UInt32
  /// `secs`: seconds since the client began, as the client says.
  package var seconds: UInt16
  package var flags: UInt16
  /// `ciaddr`: the address the client has and answers ARP for.
  package var clientAddress: IPv4Address
  /// `yiaddr`: the address the client is given.
  package var yourAddress: IPv4Address
  /// `siaddr`: the server of the next step of a boot.
  package var nextServer: IPv4Address
  /// `giaddr`: the relay agent.
  package var relay: IPv4Address
  /// `sname` up to its first zero byte; at most 64 bytes. Empty where the field held options.
  package var serverName: [UInt8]
  /// `file` up to its first zero byte; at most 128 bytes. Empty where the field held options.
  package var bootFile: [UInt8]
  package var options: DHCPOptions

  package init(
    operation: Operation, hardware: HardwareAddress, hops: UInt8 = 0, transaction: UInt32, seconds: UInt16 = 0,
    flags: UInt16 = 0, clientAddress: IPv4Address = .any, yourAddress: IPv4Address = .any,
    nextServer: IPv4Address = .any, relay: IPv4Address = .any, serverName: [UInt8] = [], bootFile: [UInt8] = [],
    options: DHCPOptions = DHCPOptions()
  ) {
    self.operation = operation
    self.hardware = hardware
    self.hops = hops
    self.transaction = transaction
    self.seconds = seconds
    self.flags = flags
    self.clientAddress = clientAddress
    self.yourAddress = yourAddress
    self.nextServer = nextServer
    self.relay = relay
    self.serverName = serverName
    self.bootFile = bootFile
    self.options = options
  }

  /// The uppermost bit of `flags`: the client cannot take unicast before it has an address.
  package var wantsBroadcast: Bool {
    get { flags & 0x8000 != 0 }
    set { flags = newValue ? flags | 0x8000 : flags & 0x7FFF }
  }
}

/// `htype`, `hlen` and the 16 bytes of `chaddr`.
package struct HardwareAddress: Hashable, Sendable {
  /// IANA hardware type: 1 Ethernet, 32 InfiniBand.
  package var type: UInt8
  /// `hlen`: 0 to 16; 0 with InfiniBand (RFC 4390).
  package var length: UInt8
  /// The first eight bytes of `chaddr`, the first of them uppermost.
  package var upper: UInt64
  /// The last eight bytes of `chaddr`.
  package var lower: UInt64

  package init(type: UInt8, length: UInt8, upper: UInt64, lower: UInt64) {
    self.type = type
    self.length = length
    self.upper = upper
    self.lower = lower
  }

  package init(_ address: MACAddress) {
    type = 1
    length = 6
    upper = address.rawValue << 16
    lower = 0
  }

  /// The address of one Ethernet card; `nil` for other hardware, other lengths, zeros and group
  /// addresses. Token ring and its like (`htype` 6) write addresses the same way.
  package var ethernet: MACAddress? {
    guard type == 1 || type == 6, length == 6 else { return nil }
    let address = MACAddress(rawValue: upper >> 16)
    return address.isUnicast ? address : nil
  }
}
