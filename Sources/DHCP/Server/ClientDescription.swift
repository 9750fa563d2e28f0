package import NetworkTypes

/// Who is asking, read from one message: all that a policy may decide by.
package struct ClientDescription: Hashable, Sendable {
  /// The program that speaks, told apart by vendor class (option 60), user class (77) and
  /// architecture (93). One card speaks with several of them in the course of one boot.
  package enum Speaker: String, Hashable, Sendable {
    /// `PXEClient`: a boot ROM or UEFI's network stack, loading over TFTP.
    case pxeFirmware
    /// `HTTPClient`: UEFI HTTP boot.
    case httpFirmware
    /// User class `iPXE`, bare or counted.
    case ipxe
    /// Our own stage 1 (vendor class `perseid-stage1`), or our client in the running node (`perseid-node`).
    case perseid
    /// Anything else: an operating system, a BMC, a switch, a laptop.
    case other
  }

  package var hardwareAddress: MACAddress
  /// Option 61 as sent, type byte included.
  package var clientIdentifier: [UInt8]?
  /// The 16 bytes of option 97 behind its type byte.
  package var guid: [UInt8]?
  /// Option 93: IANA processor architecture types, in the client's order.
  package var architectures: [UInt16]
  /// Option 60 as text.
  package var vendorClass: String?
  /// Option 12.
  package var hostName: String?
  /// `giaddr` where a relay agent passed the message on.
  package var relay: IPv4Address?
  package var speaker: Speaker
  /// The address under which this client reaches us: ours on its network, or on the way to its relay.
  package var serverAddress: IPv4Address
  /// Whether this is a DISCOVER: what is answered now is not bound to an earlier offer.
  package var isDiscovering = false
  /// Whether another server gives this client its address, and we add the boot.
  package var isProxied = false
  /// The row of the table of quirks by which something here was put right.
  package var correction: String?

  package init(
    hardwareAddress: MACAddress, clientIdentifier: [UInt8]? = nil, guid: [UInt8]? = nil,
    architectures: [UInt16] = [], vendorClass: String? = nil, hostName: String? = nil, relay: IPv4Address? = nil,
    speaker: Speaker, serverAddress: IPv4Address
  ) {
    self.hardwareAddress = hardwareAddress
    self.clientIdentifier = clientIdentifier
    self.guid = guid
    self.architectures = architectures
    self.vendorClass = vendorClass
    self.hostName = hostName
    self.relay = relay
    self.speaker = speaker
    self.serverAddress = serverAddress
  }
}
