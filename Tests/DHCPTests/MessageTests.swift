import DHCPWire
import NetworkTypes
import Testing

struct MessageTests {
  /// What SeaBIOS's boot ROM sends, shortened to the fields that matter.
  static let discover = padded(
    padded(
      hex(
        """
        01 01 06 00        # op BOOTREQUEST, htype Ethernet, hlen 6, hops 0
        a1b2c3d4           # xid
        0004 8000          # secs 4, flags: broadcast
        00000000 00000000  # ciaddr, yiaddr
        00000000 00000000  # siaddr, giaddr
        52540000 0001      # chaddr
        """), to: 236)
      + hex(
        """
        63825363                                   # cookie
        350101                                     # 53: DISCOVER
        390204c0                                   # 57: at most 1216 bytes
        5d020000                                   # 93: BIOS
        5e03010201                                 # 94: UNDI 2.1
        3c20 505845436c69656e743a417263683a30303030303a554e44493a303032303031  # 60: PXEClient:Arch:00000:UNDI:002001
        6111 00 000102030405060708090a0b0c0d0e0f   # 97: GUID
        37020143                                   # 55: 1, 67
        ff
        """), to: 400)

  @Test("a boot ROM's DISCOVER is read with all its options")
  func readsADiscover() throws {
    let message = try DHCPMessage(parsing: Self.discover.span)
    #expect(message.operation == .request)
    #expect(message.transaction == 0xa1b2_c3d4)
    #expect(message.seconds == 4)
    #expect(message.wantsBroadcast)
    #expect(message.hardware.ethernet == card(1))
    #expect(message.messageType == .discover)
    #expect(message.maximumMessageSize == 1216)
    #expect(message.architectures == [0])
    #expect(message.clientInterface.map(Array.init) == [1, 2, 1])
    #expect(message.options.text(.vendorClass) == "PXEClient:Arch:00000:UNDI:002001")
    #expect(message.machineIdentifier.map(Array.init) == Array(0...15))
    #expect(message.parameterRequestList.map(Array.init) == [1, 67])
  }

  @Test("a message that is written and read again is the same")
  func roundTrip() throws {
    let message = try DHCPMessage(parsing: Self.discover.span)
    #expect(try DHCPMessage(parsing: message.serialized().span) == message)
  }

  @Test("every beginning of a message is an error or a message, never a crash")
  func truncation() {
    for count in 0..<Self.discover.count {
      let piece = Array(Self.discover.prefix(count))
      if count < DHCPMessage.minimumLength {
        #expect(throws: DHCPParseError.tooShort(bytes: count)) { try DHCPMessage(parsing: piece.span) }
      } else {
        _ = try? DHCPMessage(parsing: piece.span)
      }
    }
  }

  @Test("each kind of malformed message is an error of its own")
  func malformed() {
    func changed(_ change: (inout [UInt8]) -> Void) -> [UInt8] {
      var bytes = Self.discover
      change(&bytes)
      return bytes
    }
    func options(_ bytes: [UInt8]) -> [UInt8] { Array(Self.discover.prefix(240)) + bytes }
    let cases: [([UInt8], DHCPParseError)] = [
      ([UInt8](repeating: 1, count: 4097), .tooLong(bytes: 4097)),
      (changed { $0[0] = 3 }, .unknownOperation(3)),
      (changed { $0[2] = 17 }, .hardwareLength(17)),
      (changed { $0[236] = 0 }, .missingCookie),
      (options([53]), .truncatedOption(.messageType)),
      (options([53, 1, 1, 12, 9, 65]), .truncatedOption(.hostName)),
      (options([52, 1, 4]), .overload),
      (options([52, 2, 1, 1]), .overload),
      (options([53, 2, 1, 1, 255]), .optionLength(.messageType, bytes: 2)),
      (options([53, 1, 9, 255]), .unknownMessageType(9)),
    ]
    for (bytes, error) in cases {
      #expect(throws: error) { try DHCPMessage(parsing: bytes.span) }
    }
  }

  @Test("an option in pieces is joined in their order (RFC 3396)")
  func longOptions() throws {
    let bytes = Array(Self.discover.prefix(240)) + hex("350101 0c026162 4d0158 0c0163 4d0159 0c0164 ff")
    let message = try DHCPMessage(parsing: bytes.span)
    #expect(message.options.text(.hostName) == "abcd")
    #expect(message.options[.userClass].map(Array.init) == Array("XY".utf8))
  }

  @Test("an option of more than 255 bytes is written in pieces and read whole")
  func writesLongOptions() throws {
    var message = try DHCPMessage(parsing: Self.discover.span)
    let long = (0..<600).map { UInt8($0 % 251) }
    message.options.set(.vendorSpecific, long)
    let read = try DHCPMessage(parsing: message.serialized().span)
    #expect(read.options[.vendorSpecific].map(Array.init) == long)
  }

  @Test("options overloaded into file and then sname are read, and those fields are then no names", arguments: 1...3)
  func overload(_ fields: UInt8) throws {
    var bytes = padded(Array(Self.discover.prefix(240)) + hex("350101 3401") + [fields] + [255], to: 300)
    bytes.replaceSubrange(108..<113, with: hex("0c026162ff"))
    bytes.replaceSubrange(44..<49, with: hex("0c026364ff"))
    let message = try DHCPMessage(parsing: bytes.span)
    let expected = [1: "ab", 2: "cd", 3: "abcd"][fields]
    #expect(message.options.text(.hostName) == expected)
    #expect(message.bootFile.isEmpty == (fields & 1 != 0))
    #expect(message.serverName.isEmpty == (fields & 2 != 0))
  }

  @Test("text that a terminal would obey is made harmless")
  func hostileText() throws {
    let bytes = Array(Self.discover.prefix(240)) + hex("350101 0c04 1b5b4a41 ff")
    #expect(try DHCPMessage(parsing: bytes.span).options.text(.hostName) == "?[JA")
  }

  @Test("a message without END is read to its end")
  func noEnd() throws {
    let bytes = Array(Self.discover.prefix(240)) + hex("350101 0c0161")
    #expect(try DHCPMessage(parsing: bytes.span).options.text(.hostName) == "a")
  }

  @Test("the user class is read bare, as iPXE sends it, and counted, as RFC 3004 wants it")
  func userClasses() throws {
    for (option, expected) in [
      ("4d04 69505845", ["iPXE"]), ("4d05 04 69505845", ["iPXE"]), ("4d08 02 6162 04 69505845", ["ab", "iPXE"]),
      ("4d00", []), ("4d02 0500", ["\u{5}\0"]),
    ] {
      let bytes = Array(Self.discover.prefix(240)) + hex("350101" + option + "ff")
      let classes = try DHCPMessage(parsing: bytes.span).userClasses.map { String(decoding: $0, as: UTF8.self) }
      #expect(classes == expected)
    }
  }

  @Test("option 97 is taken with 17 bytes and type 0, and nothing else passes for a GUID")
  func machineIdentifier() throws {
    for (option, count) in [
      ("6100", nil), ("6111 00" + String(repeating: "ab", count: 16), 16),
      ("6111 01" + String(repeating: "ab", count: 16), nil), ("6110" + String(repeating: "ab", count: 16), nil),
    ] as [(String, Int?)] {
      let bytes = Array(Self.discover.prefix(240)) + hex("350101" + option + "ff")
      #expect(try DHCPMessage(parsing: bytes.span).machineIdentifier?.count == count)
    }
  }

  @Test("sub-options of a relay agent are found, and a length that lies ends the search")
  func relaySuboptions() throws {
    let bytes = Array(Self.discover.prefix(240)) + hex("350101 5210 0104 65746830 0504 0a020000 0b09 0a02 ff")
    let message = try DHCPMessage(parsing: bytes.span)
    #expect(message.linkSelection == address("10.2.0.0"))
    #expect(message.serverIdentifierOverride == nil)
  }

  @Test("a reply has at least 300 bytes: END, then zeros, with the message type first and option 82 last")
  func shapeOfReplies() throws {
    var message = try DHCPMessage(parsing: Self.discover.span)
    message.options = DHCPOptions()
    message.options.set(.relayAgentInformation, [1, 1, 7])
    message.options.set(.subnetMask, [255, 255, 255, 0])
    message.options.set(.messageType, [DHCPMessageType.offer.rawValue])
    let bytes = message.serialized()
    #expect(bytes.count == 300)
    #expect(Array(bytes[240...]) == padded(hex("350102 0104ffffff00 5203010107 ff"), to: 60))
  }

  @Test("what does not fit the client's maximum message size is left out beside a boot file, option 82 never")
  func maximumSize() throws {
    var message = try DHCPMessage(parsing: Self.discover.span)
    message.bootFile = Array("undionly.kpxe".utf8)
    var writer = DHCPMessageWriter(fixedPartOf: message, type: .offer, maximumLength: 300)
    writer.add(.hostName, bytes: [UInt8](repeating: 65, count: 60))
    writer.add(.subnetMask, address("255.255.0.0"))
    #expect(writer.dropped == [.hostName])
    let read = try DHCPMessage(parsing: writer.finish(echoing: [1, 1, 7]).span)
    #expect(read.options.codes == [.messageType, .subnetMask, .relayAgentInformation])
  }

  @Test("InfiniBand's chaddr, zeros and group addresses are no Ethernet card")
  func hardware() {
    #expect(HardwareAddress(type: 32, length: 0, upper: 0, lower: 0).ethernet == nil)
    #expect(HardwareAddress(type: 1, length: 6, upper: 0, lower: 0).ethernet == nil)
    #expect(HardwareAddress(.broadcast).ethernet == nil)
    #expect(HardwareAddress(card(5)).ethernet == card(5))
  }
}
