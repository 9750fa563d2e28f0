import Testing

@testable import TFTP

/// RFC 2347, 2348, 2349, 7440: what is agreed upon, and what the OACK says.
struct NegotiationTests {
  private func negotiate(
    _ options: [(String, String)], mtu: Int = 1500, windowSize: Int = 64, size: Int = 5000
  ) -> (Negotiation, [String]) {
    let asked = options.map { Request.Option(name: Array($0.0.utf8), value: Array($0.1.utf8)) }
    let result = Negotiation(asked, limits: .init(mtu: mtu, windowSize: windowSize), size: size)
    return (
      result,
      result.acknowledged.map { String(decoding: $0.name + Array("=".utf8) + $0.value, as: UTF8.self) }
    )
  }

  @Test func withoutOptionsThereIsNoOACKAndBlocksHave512Bytes() {
    let (result, acknowledged) = negotiate([])
    #expect(acknowledged.isEmpty && result.blockSize == 512 && result.windowSize == 1)
  }

  @Test func onlyWhatWasAskedIsAcknowledged() {
    #expect(negotiate([("tsize", "0")]).1 == ["tsize=5000"])
    #expect(negotiate([("blksize", "1024"), ("nonsense", "1")]).1 == ["blksize=1024"])
    #expect(negotiate([("multicast", "")]).1 == [])
  }

  @Test func namesMayBeInAnyCaseAndAreGivenBackAsTheyCame() {
    #expect(negotiate([("BlkSize", "600"), ("TSIZE", "0")]).1 == ["BlkSize=600", "TSIZE=5000"])
  }

  @Test func blocksAreClampedToWhatAnEthernetPacketCarries() {
    #expect(negotiate([("blksize", "65464")]).1 == ["blksize=1468"])
    #expect(negotiate([("blksize", "65464")], mtu: 9000).1 == ["blksize=8968"])
    #expect(negotiate([("blksize", "65464")], mtu: 65536).1 == ["blksize=65464"])
    #expect(negotiate([("blksize", "1432")]).1 == ["blksize=1432"])
  }

  @Test(arguments: [
    "7", "0", "65465", "99999999999999999999", "18446744073709551624", "-8", "+512", " 512", "", "5e2", "0x200",
  ])
  func aBlockSizeThatIsNoneIsNotAcknowledged(value: String) {
    let (result, acknowledged) = negotiate([("blksize", value)])
    #expect(acknowledged.isEmpty && result.blockSize == 512)
  }

  @Test func theSmallestAndLargestBlockSizesAreTaken() {
    #expect(negotiate([("blksize", "8")]).1 == ["blksize=8"])
    #expect(negotiate([("blksize", "000512")]).1 == ["blksize=512"])
  }

  @Test(arguments: ["0", "-1", "256", "99999999999999999999"])
  func aTimeoutOutOf1To255IsNotAcknowledged(value: String) {
    let (result, acknowledged) = negotiate([("timeout", value)])
    #expect(acknowledged.isEmpty && result.timeout == nil)
  }

  @Test func aTimeoutIsAcknowledgedAsItCame() {
    #expect(negotiate([("timeout", "1"), ("tsize", "0")]).1 == ["timeout=1", "tsize=5000"])
    #expect(negotiate([("timeout", "255")]).0.timeout == 255)
  }

  @Test func windowsAreAtMostWhatTheServerAllows() {
    #expect(negotiate([("windowsize", "4")]).1 == ["windowsize=4"])
    #expect(negotiate([("windowsize", "65535")]).1 == ["windowsize=64"])
    #expect(negotiate([("windowsize", "0")]).1 == [])
    #expect(negotiate([("windowsize", "65536")]).1 == [])
  }

  @Test func aWindowFitsIntoAClientsReceiveBufferWhicheverOptionComesFirst() {
    #expect(negotiate([("windowsize", "64"), ("blksize", "8192")], mtu: 9000).1 == ["windowsize=16", "blksize=8192"])
    #expect(
      negotiate([("blksize", "65464"), ("windowsize", "64")], mtu: 65536).1 == ["blksize=65464", "windowsize=2"])
  }

  @Test func aDoubledOptionIsAcknowledgedOnceAndTheFirstCounts() {
    let (result, acknowledged) = negotiate([("blksize", "1024"), ("BLKSIZE", "512"), ("tsize", "0"), ("tsize", "0")])
    #expect(acknowledged == ["blksize=1024", "tsize=5000"] && result.blockSize == 1024)
  }

  @Test func theSizeOfAnEmptyFileIsNotTold() {
    #expect(negotiate([("tsize", "0"), ("blksize", "512")], size: 0).1 == ["blksize=512"])
  }

  @Test func sizesOver4GiBAreToldInFull() {
    #expect(negotiate([("tsize", "0")], size: 5 << 30).1 == ["tsize=5368709120"])
  }
}

/// What firmware makes of a file's name.
struct RequestedNameTests {
  private func candidates(_ name: [UInt8]) -> [String] { RequestedName(name).candidates }

  @Test(arguments: [
    "undionly.kpxe", "/undionly.kpxe", "//undionly.kpxe", "\\undionly.kpxe", "./undionly.kpxe", "undionly.kpxe ",
    "undionly.kpxe/",
  ])
  func slashesAndBackslashesAroundANameDoNotMatter(name: String) {
    #expect(candidates(Array(name.utf8)) == ["undionly.kpxe"])
  }

  @Test func pathsMayBeWrittenWithBackslashesAndDoubledSlashes() {
    #expect(candidates(Array("\\b\\abc//kernel".utf8)) == ["b/abc/kernel"])
  }

  @Test func garbageBehindTheNameIsCutOff() {
    #expect(candidates(Array("snponly.efi".utf8) + [0xFF]) == ["snponly.efi"])
    #expect(candidates(Array("snponly.efi".utf8) + [0xFF, 0x41, 0x42]) == ["snponly.efi"])
    #expect(candidates(Array("snponly.efi\r\n".utf8)) == ["snponly.efi"])
  }

  @Test func anUpperCaseNameIsAlsoLookedUpInLowerCase() {
    #expect(candidates(Array("UNDIONLY.KPXE".utf8)) == ["UNDIONLY.KPXE", "undionly.kpxe"])
    #expect(candidates(Array("pxelinux.cfg/C0A80001".utf8)) == ["pxelinux.cfg/C0A80001", "pxelinux.cfg/c0a80001"])
  }

  @Test(arguments: ["..", "../etc/passwd", "a/../b", "..\\boot", "/", "", ".", "a/.."])
  func aNameThatPointsUpwardsOrNowhereMeansNoFile(name: String) {
    #expect(candidates(Array(name.utf8)).isEmpty)
  }

  @Test func theOriginalIsKeptForPeopleButCannotMoveACursor() {
    #expect(RequestedName(Array("\\BOOT\u{1B}[2J".utf8)).original == "\\BOOT?[2J")
    #expect(RequestedName([0x41, 0xFF]).original == "A\u{FFFD}")
  }
}
