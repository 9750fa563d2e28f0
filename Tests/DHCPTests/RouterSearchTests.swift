import NetworkTypes
import Testing

@testable import DHCP

struct RouterMessageTests {
  private static let appliance = card(0xFE)
  private static let node = card(1)

  /// What iPXE sends, its checksum set right.
  static let solicitation = hex(
    """
    333300000002 525400000001 86dd          # Ethernet
    60000000 0010 3a ff                     # IPv6, 16 bytes, ICMPv6, hop limit 255
    fe80000000000000505400fffe000001        # from its link-local address
    ff020000000000000000000000000002        # to all routers
    85 00 da83 00000000                     # router solicitation
    01 01 525400000001                      # source link-layer address
    """)

  private func link(_ lower: UInt64) -> IPv6Address { IPv6Address(upper: 0xFE80 << 48, lower: lower) }

  @Test("a card's own link-local address is its modified EUI-64")
  func linkLocal() {
    #expect(IPv6Address.linkLocal(of: Self.node) == link(0x5054_00FF_FE00_0001))
    #expect(IPv6Address.linkLocal(of: Self.node).isLinkLocal)
    #expect(!IPv6Address.allNodes.isLinkLocal && !IPv6Address.any.isLinkLocal)
  }

  @Test("iPXE's solicitation is read with who asks")
  func solicitation() {
    #expect(
      RouterMessage(Self.solicitation.span) == .solicitation(card: Self.node, source: link(0x5054_00FF_FE00_0001)))
  }

  @Test("the answer offers nothing, byte for byte, and goes to the card that asked")
  func advertisement() {
    let frame = RouterMessage.emptyAdvertisement(
      from: Self.appliance, .linkLocal(of: Self.appliance), to: Self.node, .linkLocal(of: Self.node))
    let expected = hex(
      """
      525400000001 5254000000fe 86dd
      60000000 0018 3a ff                   # 24 bytes, ICMPv6, hop limit 255
      fe80000000000000505400fffe0000fe
      fe80000000000000505400fffe000001
      86 00 88b0                            # router advertisement, checksum
      00 00 0000                            # hop limit unspecified, no flags, router lifetime 0
      00000000 00000000                     # reachable time, retransmission timer: unspecified
      01 01 5254000000fe                    # source link-layer address
      """)
    #expect(frame == expected)
    #expect(RouterMessage(frame.span) == .advertisement(card: Self.appliance, offersAnything: false))
  }

  @Test("who asks from no address is answered by way of all nodes")
  func unspecified() {
    let frame = RouterMessage.emptyAdvertisement(
      from: Self.appliance, .linkLocal(of: Self.appliance), to: Self.node, .any)
    #expect(Array(frame[..<6]) == hex("333300000001"))
    #expect(Array(frame[38..<54]) == hex("ff020000000000000000000000000001"))
    #expect(RouterMessage(frame.span) != nil)
  }

  @Test("an advertisement with a lifetime, a DHCPv6 flag or a prefix is a router's")
  func routers() {
    for (index, value) in [(59, 0x80), (59, 0x40), (60, 7), (61, 8), (70, 3)] as [(Int, UInt8)] {
      var frame = RouterMessage.emptyAdvertisement(from: Self.node, .linkLocal(of: Self.node), to: Self.appliance, .any)
      frame[index] = value
      repair(&frame)
      #expect(RouterMessage(frame.span) == .advertisement(card: Self.node, offersAnything: true), "\(index)")
    }
  }

  @Test("damaged, forwarded and truncated frames are not read")
  func damaged() {
    let good = Self.solicitation
    for count in good.indices { #expect(RouterMessage(good.span.extracting(..<count)) == nil) }
    for (index, value) in [
      (6, 1), (12, 8), (14, 0x40), (18, 1), (19, 17), (19, 15), (20, 17), (21, 254), (54, 136), (55, 1), (63, 0),
      (63, 2),
    ] as [(Int, UInt8)] {
      var frame = good
      frame[index] = value
      repair(&frame)
      #expect(RouterMessage(frame.span) == nil, "byte \(index)")
    }
    var wrongSum = good
    wrongSum[56] ^= 1
    #expect(RouterMessage(wrongSum.span) == nil)
    // Without an address a node names no link-layer address either.
    var nobody = good
    nobody.replaceSubrange(22..<38, with: [UInt8](repeating: 0, count: 16))
    repair(&nobody)
    #expect(RouterMessage(nobody.span) == nil)
  }

  /// Sets the checksum right, over the length the frame really has.
  private func repair(_ frame: inout [UInt8]) {
    frame[56] = 0
    frame[57] = 0
    var sum = frame[22...].enumerated().reduce(58 + frame.count - 54) { sum, byte in
      sum + Int(byte.element) << (byte.offset % 2 == 0 ? 8 : 0)
    }
    while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    frame[56] = UInt8(~sum >> 8 & 0xFF)
    frame[57] = UInt8(~sum & 0xFF)
  }
}

struct RouterSearchTests {
  private var search = RouterSearch(ownCard: card(0xFE))

  private func question(_ number: UInt64 = 1) -> RouterMessage {
    .solicitation(card: card(number), source: .linkLocal(of: card(number)))
  }

  @Test("iPXE's search ends half a second after its first question, with one answer")
  mutating func ipxe() {
    search.heard(question(), at: 0)
    #expect(search.nextAnswer == nil && search.answersDue(at: 0.2).isEmpty)
    search.heard(question(), at: 0.25)
    #expect(search.nextAnswer == 0.5)
    #expect(search.answersDue(at: 0.49).isEmpty)
    #expect(search.answersDue(at: 0.5) == [.init(card: card(1), source: .linkLocal(of: card(1)))])
    #expect(search.nextAnswer == nil && search.answersDue(at: 10).isEmpty)
  }

  @Test("who did not hear the answer asks on, and gets another")
  mutating func lostAnswer() {
    for time in [0, 0.25] { search.heard(question(), at: time) }
    #expect(search.answersDue(at: 0.5).count == 1)
    search.heard(question(), at: 0.75)
    #expect(search.answersDue(at: 1.7).isEmpty)
    search.heard(question(), at: 1.75)
    #expect(search.answersDue(at: 1.75).count == 1)
  }

  @Test("an operating system, which asks every four seconds, is not answered")
  mutating func operatingSystem() {
    for time in stride(from: 0.0, to: 60, by: 4) {
      search.heard(question(), at: time)
      #expect(search.answersDue(at: time + 3.9).isEmpty)
    }
  }

  @Test("while a router was heard within half an hour no one is answered, not even who asked before")
  mutating func router() {
    for time in [0, 0.25] { search.heard(question(), at: time) }
    search.heard(.advertisement(card: card(9), offersAnything: true), at: 0.4)
    #expect(search.answersDue(at: 1).isEmpty && search.hearsRouter(at: 1800))
    for time in [100, 100.25] { search.heard(question(), at: time) }
    #expect(search.answersDue(at: 101).isEmpty)
    for time in [1801, 1801.25] { search.heard(question(), at: time) }
    #expect(search.answersDue(at: 1801.5).count == 1)
  }

  @Test("another appliance's empty advertisement is no router")
  mutating func otherAppliance() {
    search.heard(.advertisement(card: card(9), offersAnything: false), at: 0)
    for time in [0.1, 0.35] { search.heard(question(), at: time) }
    #expect(search.answersDue(at: 0.6).count == 1)
  }

  @Test("our own kernel's questions are not answered")
  mutating func ownQuestions() {
    for time in [0, 0.25] { search.heard(question(0xFE), at: time) }
    #expect(search.answersDue(at: 1).isEmpty)
  }

  @Test("a card that never stops asking gets two answers a second at most")
  mutating func insistent() {
    var answers = 0
    for step in 0..<1000 {
      search.heard(question(), at: Double(step) / 100)
      answers += search.answersDue(at: Double(step) / 100).count
    }
    #expect((10...20).contains(answers))
  }

  @Test("a flood of cards costs bounded memory and bounded answers, and ends with it")
  mutating func flood() {
    for _ in 0..<2 {
      for number in 1...10_000 as ClosedRange<UInt64> { search.heard(question(number), at: 0.1) }
    }
    #expect(search.answersDue(at: 0.6).count == RouterSearch.maximumAnswersPerSecond)
    for time in [5, 5.25] { search.heard(question(20_000), at: time) }
    #expect(search.answersDue(at: 5.5).map(\.card) == [card(20_000)])
  }

  @Test("searches that ended without an answer make room")
  mutating func room() {
    for number in 1...10_000 as ClosedRange<UInt64> { search.heard(question(number), at: 0) }
    for time in [10, 10.25] { search.heard(question(20_000), at: time) }
    #expect(search.answersDue(at: 10.5).map(\.card) == [card(20_000)])
  }
}
