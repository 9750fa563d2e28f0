import CapsuleFormat
import Glibc
import Stage1
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("Root mode overlay")
struct OverlayTests {
  /// Some megabytes that are not alike.
  static let content: [UInt8] = (0..<5_500_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
  static let image = Descriptor(
    mediaType: MediaType.erofs, digest: Digest.ofContent(content), size: Int64(content.count))

  static func step(_ mode: String, image: Descriptor?) -> Step {
    let blob = Descriptor(mediaType: MediaType.rootFileSystem, digest: Digest.ofContent([]), size: 1)
    return Step(
      name: "50-root", kind: .root, level: "built-in", length: 1, digest: blob.digest, onFailure: .retry,
      root: Step.Root(mode: mode, generation: blob.digest, blob: blob, image: image, bytes: 1, entries: 1))
  }

  static func part(_ content: [UInt8], _ request: String) -> [UInt8] {
    guard let range = request.firstRange(of: "Range: bytes=") else { return answer(200, content) }
    let ends = request[range.upperBound...].prefix { $0.isNumber || $0 == "-" }.split(separator: "-").compactMap {
      Int($0)
    }
    return answer(
      206, Array(content[ends[0]...ends[1]]),
      fields: ["Content-Range: bytes \(ends[0])-\(ends[1])/\(content.count)"])
  }

  /// Fetches the image from a server, and gives back the file and what was told the appliance.
  private func fetch(
    _ respond: @escaping @Sendable (_ request: String, _ number: Int) -> ScriptedServer.Reaction
  ) throws -> (file: [UInt8]?, events: [String]) {
    let directory = try TemporaryDirectory()
    let gets = Monitor(0)
    let server = try ScriptedServer { request, _ in
      guard request.hasPrefix("GET") else { return .send(answer(204)) }
      return respond(
        request,
        gets.update { count in
          defer { count += 1 }
          return count
        })
    }
    let boot = Boot(console: Console(descriptors: []))
    let path = directory.path + "/image"
    try server.serving {
      var client = StateClient(server: server.endpoint)
      try OverlayRoot.fetch(
        Self.image, Self.step("overlay", image: Self.image), to: path, boot: boot, through: &client)
    }
    return (try? directory.read("image"), server.requests.filter { $0.hasPrefix("POST /v1/events") })
  }

  @Test("fetches the image in parts, goes on where a connection broke, and verifies the whole")
  func fetches() throws {
    let (file, events) = try fetch { request, number in
      let whole = Self.part(Self.content, request)
      return number == 0 ? .sendAndClose(Array(whole.prefix(whole.count / 2))) : .send(whole)
    }
    #expect(file == Self.content)
    #expect(events.contains { $0.contains("going on with frame") })
  }

  @Test("refuses a corrupted image, fetches it again and tells the appliance")
  func refetches() throws {
    var bad = Self.content
    bad[4_000_000] ^= 1
    let isCorrupted = Monitor(true)
    let (file, events) = try fetch { [bad] request, _ in
      // Corrupted until the corrupted byte has been sent once.
      let content = isCorrupted.update { isCorrupted in
        defer { if Self.holds(4_000_000, request) { isCorrupted = false } }
        return isCorrupted ? bad : Self.content
      }
      return .send(Self.part(content, request))
    }
    #expect(file == Self.content)
    #expect(events.contains { $0.contains("the root's image is corrupted") && $0.contains("it is fetched again") })
  }

  private static func holds(_ place: Int, _ request: String) -> Bool {
    guard let range = request.firstRange(of: "Range: bytes=") else { return true }
    let ends = request[range.upperBound...].prefix { $0.isNumber || $0 == "-" }.split(separator: "-").compactMap {
      Int($0)
    }
    return (ends[0]...ends[1]).contains(place)
  }

  @Test("gives up on an image that stays corrupted, and leaves nothing of it")
  func givesUp() throws {
    var bad = Self.content
    bad[0] ^= 1
    #expect(throws: ImageCorrupted.self) {
      try fetch { [bad] request, _ in .send(Self.part(bad, request)) }
    }
  }

  @Test("says what to do where the capsule has no image")
  func refusesWithoutImage() throws {
    let boot = Boot(console: Console(descriptors: []))
    var client = StateClient(server: Endpoint("127.0.0.1:9")!)
    let step = Self.step("overlay", image: nil)
    let failure = #expect(throws: StepFailure.self) {
      try OverlayRoot.fill(step, step.root!, boot: boot, through: &client)
    }
    #expect(failure?.what.contains("names none") == true && failure?.what.contains("root mode ram") == true)
  }

  @Test("names what the kernel lacks")
  func namesMissing() {
    let all = "nodev\tsysfs\nnodev\toverlay\n\terofs\n"
    #expect(OverlayRoot.missing(filesystems: all, loopControl: "/dev/null") == nil)
    let text = OverlayRoot.missing(filesystems: "nodev\toverlay\n", loopControl: "/nowhere")
    #expect(text?.contains("needs erofs and loop in the kernel") == true && text?.contains("root mode ram") == true)
  }

  @Test(
    "gives the image's tree, root directory included, in which everything can be written",
    .enabled(if: canMountOverlay))
  func mounts() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir in out parts
      (cd in; mkdir -p a/b sub; echo text > a/f; ln a/f a/g; ln -s f a/l; mknod a/n c 1 3; chmod 4755 a/f
      touch -d @1000000000.5 a/f sub; chown 12:34 .; chmod 0751 .; touch -d @1234567890 .)
      mkfs.erofs --quiet -zlz4 image in
      """)
    let size = try place.shell("stat -c %s image").split(separator: "\n").first.flatMap { Int64($0) } ?? 0
    let mounts = OverlayMounts(directory: place.path + "/parts", target: place.path + "/out")
    defer { mounts.release() }
    // Twice: what an earlier try left is gone.
    for _ in 0..<2 {
      try mounts.begin(imageBytes: size)
      try place.shell("cp image \(mounts.image)")
      try mounts.assemble(room: 16 << 20)
    }
    let listing = "find . -printf '%p %y %m %U %G %T@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort"
    #expect(try place.shell("cd out; \(listing)") == place.shell("cd in; \(listing)"))
    #expect(try place.shell("findmnt -no FSTYPE out") == "overlay\n")
    #expect(try place.shell("ls parts") == "", "the parts are still to be seen")
    #expect(
      try place.shell("echo more >> out/a/f; mkdir out/new; rm out/a/l; cat out/a/f; ls out/a") == """
        text
        more
        b
        f
        g
        n

        """)
    #expect(try place.shell("cat in/a/f") == "text\n")
    mounts.release()
    #expect(try place.shell("ls out; losetup -n -O BACK-FILE | grep -c parts/root-image || true") == "0\n")
  }
}

/// Whether this machine lets us mount what the mode needs.
private let canMountOverlay: Bool = {
  guard geteuid() == 0, isInstalled("mkfs.erofs"), let place = try? Workplace() else { return false }
  return
    (try? place.shell(
      """
      mkdir a m t; mkfs.erofs --quiet i a; mount -t erofs -o loop,ro i m
      mount -t tmpfs none t; mkdir t/u t/w; mkdir o; mount -t overlay -o lowerdir=m,upperdir=t/u,workdir=t/w none o
      umount o; umount t; umount m
      """)) != nil
}()
