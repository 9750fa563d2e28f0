import DHCPWire
import NetworkTypes
import Testing

@testable import DHCP

/// Beside another server, which gives the addresses: only what is booted is answered. And port 4011, in both modes.
struct ProxyTests {
  private let guid: [UInt8] = [0] + (1...16)

  private func offer(_ options: [DHCPOptionCode: [UInt8]], bootFile: String? = "snponly.efi") throws
    -> ResponderDesk.Reply?
  {
    try ResponderDesk(bootFile: bootFile, mode: .proxy).reply(to: request(.discover, options))
  }

  @Test("a proxy's OFFER has no address, no lease and nothing of the network, names us, and goes to everyone")
  func offer() throws {
    let options = Firmware.uefi.merging([.machineIdentifier: guid, .clientIdentifier: guid]) { $1 }
    let reply = try #require(try offer(options))
    #expect(reply.message.messageType == .offer)
    #expect((reply.message.yourAddress, reply.message.nextServer) == (.any, ResponderDesk.server))
    #expect(reply.message.options.address(.serverIdentifier) == ResponderDesk.server)
    #expect(reply.message.bootFile == text("snponly.efi"))
    for code in [DHCPOptionCode.leaseTime, .subnetMask, .router, .nameServers, .hostName] {
      #expect(!reply.message.options.contains(code))
    }
    #expect(reply.message.options[.machineIdentifier].map(Array.init) == guid)
    #expect(reply.message.options[.clientIdentifier].map(Array.init) == guid)
    #expect(reply.destination == .broadcast)
    #expect(reply.changes.isEmpty && reply.bytes.count >= 300)
  }

  @Test("bios-proxy: a BIOS ROM beside another server is told to load the file at once")
  func bios() throws {
    let message = try #require(try offer(Firmware.bios)).message
    #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
    #expect(message.options[.vendorSpecific].map(Array.init) == [6, 1, 8, 255])
  }

  @Test("uefi-proxy: UEFI beside another server is sent to port 4011")
  func uefi() throws {
    let message = try #require(try offer(Firmware.uefi)).message
    #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
    #expect(message.options[.vendorSpecific] == nil)
  }

  @Test("ipxe-proxy: iPXE gets its script in a PXE reply that it takes at once")
  func ipxe() throws {
    let url = "http://10.0.0.1:9870/ipxe?mac=52:54:00:00:00:01"
    let message = try #require(try offer(Firmware.ipxe, bootFile: url)).message
    #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
    #expect(message.options[.vendorSpecific].map(Array.init) == [6, 1, 8, 255])
    #expect(message.options.text(.bootFileName) == url)
    #expect(!message.options.contains(.etherboot))
  }

  @Test("UEFI HTTP boot beside another server gets the URL in an HTTPClient offer")
  func http() throws {
    let message = try #require(try offer(Firmware.http, bootFile: "http://10.0.0.1:9870/loader/snponly.efi")).message
    #expect(message.yourAddress == .any)
    #expect(message.options[.vendorClass].map(Array.init) == text("HTTPClient"))
    #expect(message.options.text(.bootFileName) == "http://10.0.0.1:9870/loader/snponly.efi")
  }

  @Test("a relayed DISCOVER is answered to its relay agent, whatever network that is")
  func relayed() throws {
    let desk = ResponderDesk(mode: .proxy)
    let reply = try #require(
      try desk.reply(to: request(.discover, Firmware.uefi) { $0.relay = address("172.16.0.1") }))
    #expect(reply.destination == .relay(address("172.16.0.1")))
  }

  @Test("who boots nothing from the network gets no answer at all, nor does a machine for which there is nothing")
  func silence() throws {
    let desk = ResponderDesk(mode: .proxy)
    for options in [[:], [.vendorClass: text("perseid-stage1")], [.vendorClass: text("udhcp")]]
      as [[DHCPOptionCode: [UInt8]]]
    {
      #expect(throws: Ignored.notBooting) { try desk.reply(to: request(.discover, options)) }
    }
    for type in [DHCPMessageType.inform, .release, .decline] {
      #expect(throws: Ignored.notBooting) {
        try desk.reply(to: request(type, Firmware.uefi) { $0.clientAddress = address("10.0.0.7") })
      }
    }
    #expect(try offer(Firmware.uefi, bootFile: nil) == nil)
  }

  @Test("which address a client takes from the other server is learnt from its REQUEST, which is not answered")
  func learns() throws {
    let desk = ResponderDesk(mode: .proxy)
    let selecting = request(.request, [.requestedAddress: [10, 0, 0, 150], .serverIdentifier: [10, 0, 0, 2]])
    #expect(try desk.reply(to: selecting) == nil)
    #expect(desk.lastExchange?.address == address("10.0.0.150"))
    #expect(desk.lastExchange?.reason.contains("10.0.0.2") == true)
    #expect(desk.lastExchange?.client.isProxied == true)
    #expect(try desk.reply(to: request(.request) { $0.clientAddress = address("10.0.0.151") }) == nil)
    #expect(desk.lastExchange?.address == address("10.0.0.151"))
  }

  @Test(
    "boot-server-reply: port 4011 answers with the boot file, in both modes",
    arguments: [
      DHCPServerConfiguration.Mode.authoritative, .proxy,
    ])
  func bootServer(_ mode: DHCPServerConfiguration.Mode) throws {
    let desk = ResponderDesk(bootFile: "snponly.efi", delivery: .bootServer, mode: mode)
    let options = Firmware.uefi.merging([.machineIdentifier: guid]) { $1 }
    for type in [DHCPMessageType.request, .inform] {
      let reply = try desk.bootServerReply(to: request(type, options) { $0.clientAddress = address("10.0.0.150") })
      #expect(reply.messageType == .acknowledge)
      #expect((reply.yourAddress, reply.clientAddress) == (.any, address("10.0.0.150")))
      #expect(reply.nextServer == ResponderDesk.server)
      #expect(reply.bootFile == text("snponly.efi"))
      #expect(reply.options.text(.bootFileName) == "snponly.efi")
      #expect(reply.options.address(.serverIdentifier) == ResponderDesk.server)
      #expect(reply.options[.vendorClass].map(Array.init) == text("PXEClient"))
      #expect(reply.options[.vendorSpecific] == nil)
      #expect(reply.options[.machineIdentifier].map(Array.init) == guid)
      #expect(!reply.options.contains(.leaseTime))
    }
    #expect(desk.lastExchange?.quirks.contains("boot-server-reply") == true)
    #expect(desk.lastAsked?.isDiscovering == false)
  }

  @Test("boot-item: the boot item that firmware chose comes back; one of a wrong length does not")
  func bootItem() throws {
    let desk = ResponderDesk(delivery: .bootServer)
    for (sent, returned) in [
      ([71, 4, 0, 0, 0, 0, 255], [71, 4, 0, 0, 0, 0, 255]), ([71, 9, 1], nil), ([71, 1, 1], nil),
    ]
      as [([UInt8], [UInt8]?)]
    {
      let options = Firmware.bios.merging([.vendorSpecific: sent]) { $1 }
      let reply = try desk.bootServerReply(to: request(.request, options))
      #expect(reply.options[.vendorSpecific].map(Array.init) == returned)
    }
  }

  @Test("port 4011 is silent to what no firmware sends there")
  func strangers() throws {
    let desk = ResponderDesk()
    #expect(throws: Ignored.notBooting) { try desk.bootServerReply(to: request(.request)) }
    #expect(throws: Ignored.serverMessage) { try desk.bootServerReply(to: request(.offer, Firmware.bios)) }
    #expect(throws: Ignored.notBooting) {
      try ResponderDesk(bootFile: nil).bootServerReply(to: request(.request, Firmware.bios))
    }
  }
}
