import CapsuleFormat
import TestSupport
import Testing

@Suite struct CPIOTests {
  static func image() -> [UInt8] {
    var writer = CPIOWriter()
    writer.addCharacterDevice("dev/console", mode: 0o600, major: 5, minor: 1)
    writer.addDirectory("proc")
    writer.addSymbolicLink("proc/self/exe", target: "/init")
    writer.addFile("init", mode: 0o755, content: Array("#!/bin/sh\n".utf8))
    writer.addFile("lib/modules/1/odd", content: [1, 2, 3, 4, 5])
    writer.addFile("lib/modules/1/empty", content: [])
    return writer.finish()
  }

  @Test func `an image reads back, each directory once and before what is in it`() throws {
    let entries = try CPIOEntry.read(Self.image())
    #expect(
      entries.map(\.path) == [
        "dev", "dev/console", "proc", "proc/self", "proc/self/exe", "init", "lib", "lib/modules", "lib/modules/1",
        "lib/modules/1/odd", "lib/modules/1/empty",
      ])
    #expect(entries[1].mode == 0o020600 && entries[1].major == 5 && entries[1].minor == 1)
    #expect(entries[4].mode == 0o120777 && Array(entries[4].content) == Array("/init".utf8))
    #expect(entries[5].mode == 0o100755 && Array(entries[5].content) == Array("#!/bin/sh\n".utf8))
    #expect(Array(entries[9].content) == [1, 2, 3, 4, 5])
  }

  @Test func `an image is a multiple of four bytes and the same every time`() {
    #expect(Self.image().count.isMultiple(of: 4))
    #expect(Self.image() == Self.image())
    for count in 0..<9 { #expect(paddedToFour([UInt8](repeating: 1, count: count)).count == (count + 3) / 4 * 4) }
  }

  @Test(.enabled(if: isInstalled("cpio"))) func `cpio lists and unpacks an image`() throws {
    let directory = try TemporaryDirectory()
    try directory.write(Self.image(), to: "image")
    let listing = try directory.run("cpio -tv --quiet <image")
    #expect(listing.contains("proc/self/exe -> /init"))
    #expect(listing.contains("5,   1"))
    try directory.run("mkdir out; cd out; cpio -id --quiet --no-absolute-filenames 'lib/*' init <../image")
    #expect(try directory.read("out/lib/modules/1/odd") == [1, 2, 3, 4, 5])
    #expect(try directory.run("stat -c %a out/init") == "755\n")
  }

  @Test func `an image cut anywhere, or with odd digits, is refused`() {
    let image = Self.image()
    for count in stride(from: 0, to: image.count - 124, by: 3) {
      #expect(throws: CPIOError.self) { try CPIOEntry.read(Array(image[..<count])) }
    }
    var bytes = image
    bytes[6 + 8 * 11] = UInt8(ascii: "+")
    #expect(throws: CPIOError.malformed(at: 0)) { try CPIOEntry.read(bytes) }
    bytes = image
    bytes.replaceSubrange(54..<62, with: Array("ffffffff".utf8))
    #expect(throws: CPIOError.truncated) { try CPIOEntry.read(bytes) }
  }
}
