import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// Frames cut by content, and what that is good for.
extension CapsuleBuilderTests {
  private func frames(_ capsule: StoredCapsule) throws -> [Frame] { try capsule.frames(from: store).frames }

  private func stream(_ capsule: StoredCapsule) throws -> [UInt8] {
    let blob = try store.read(capsule.rootFileSystem.digest, limit: 1 << 28)
    return try frames(capsule).flatMap { frame in
      let stored = Array(blob[Int(frame.offset)..<Int(frame.offset) + Int(frame.compressedLength)])
      return try ZstdDecompressor().decompress(stored, length: Int(frame.uncompressedLength))
    }
  }

  /// Thirty files of content that no compressor makes smaller, the same in every run.
  private func addNoise() throws {
    try tree.directory.run("mkdir tree/opt")
    var word: UInt64 = 88_172_645_463_325_252
    for name in 10..<40 {
      let content = [UInt8](unsafeUninitializedCapacity: 300_000) { buffer, count in
        while count < 300_000 {
          word ^= word << 13
          word ^= word >> 7
          word ^= word << 17
          buffer[count] = UInt8(truncatingIfNeeded: word)
          count += 1
        }
      }
      try tree.directory.write(content, to: "tree/opt/\(name)")
    }
    try tree.directory.run("touch -d @0 tree/opt tree/opt/*")
  }

  /// The rule as docs/capsule-format.md says it, written down a second time.
  private func lengths(_ stream: [UInt8]) -> [Int] {
    var state: UInt64 = 0
    let numbers = (0..<256).map { _ -> UInt64 in
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      return z ^ z >> 31
    }
    #expect(numbers[0] == 0xE220_A839_7B1D_CDAF)
    var lengths: [Int] = []
    var (length, hash) = (0, UInt64(0))
    stream.withUnsafeBufferPointer { bytes in
      for byte in bytes {
        length += 1
        if length > 131_072 {
          hash = hash &* 2 &+ numbers[Int(byte)]
          if length == 2_097_152 || hash >> (length <= 524_288 ? 43 : 47) == 0 {
            lengths.append(length)
            (length, hash) = (0, 0)
          }
        }
      }
    }
    return length > 0 ? lengths + [length] : lengths
  }

  @Test func `frames end where the format's rule says, those of zeros at their largest`() async throws {
    try addNoise()
    try tree.directory.run("head -c 5000000 /dev/zero >tree/zeros")
    let capsule = try await build()
    let found = try frames(capsule).map { Int($0.uncompressedLength) }
    #expect(found == lengths(try stream(capsule)))
    #expect(found.contains(2_097_152))
  }

  @Test func `a changed file in the middle changes only the frames around it`() async throws {
    try addNoise()
    let before = try frames(try await build()).map(\.uncompressedDigest)
    try tree.directory.run("printf 'a change' >tree/opt/25")
    let after = try frames(try await build()).map(\.uncompressedDigest)
    #expect(before.count > 10)
    let new = after.filter { !before.contains($0) }
    #expect((1...4).contains(new.count))
    #expect(after.first == before.first)
    #expect(after.suffix(4) == before.suffix(4))
  }

  @Test func `a file put in front leaves the frames behind it as they are`() async throws {
    try addNoise()
    let before = try frames(try await build()).map(\.uncompressedDigest)
    try tree.directory.run("head -c 77777 /dev/urandom >tree/a-file-before-all; touch -d @0 tree/opt")
    let after = try frames(try await build()).map(\.uncompressedDigest)
    #expect(after.suffix(before.count / 2) == before.suffix(before.count / 2))
  }

  @Test(.enabled(if: isInstalled("zstd"))) func `tar unpacks the blob by itself`() async throws {
    try addNoise()
    let capsule = try await build()
    try state.run("mkdir out; tar --zstd -C out -xf '\(store.path(of: capsule.rootFileSystem.digest))'")
    #expect(try state.run("sha256sum <out/opt/30") == (try tree.directory.run("sha256sum <tree/opt/30")))
  }

  @Test func `a tree made in another order is the same capsule`() async throws {
    try tree.directory.run(
      """
      mkdir tree/opt; for n in $(seq 10 39); do echo $n >tree/opt/$n; done
      mkdir other; cd tree; find . -depth -type f | sort -r >../files; tar --format=posix -cf - --no-recursion -T ../files | tar -C ../other -xpf -
      tar --format=posix -cf - . | tar -C ../other --overwrite -xpf -
      """)
    #expect(try await build("\(tree.directory.path)/other").digest == (try await build()).digest)
  }

  // MARK: The second build

  /// Builds again with the same notes, files counted as settled at once.
  private func again() async throws -> (capsule: StoredCapsule, copied: Int, frames: Int) {
    var builder = CapsuleBuilder(store: store)
    builder.settlingSeconds = -1
    let notes = Notes()
    let capsule = try await builder.build(request()) { progress in
      if let copied = progress.copiedFrames { notes.add("\(copied)") }
    }
    return (capsule, Int(notes.all.last ?? "") ?? 0, try frames(capsule).count)
  }

  /// The same tree built where nothing is known of it.
  private func fresh() async throws -> StoredCapsule {
    let elsewhere = try TemporaryDirectory()
    return try await CapsuleBuilder(store: ContentStore(directory: elsewhere.path)).build(request())
  }

  @Test func `a second build copies the frames that did not change, and makes what a first one would`() async throws {
    try addNoise()
    let first = try await again()
    #expect(first.copied == 0)
    let second = try await again()
    #expect(second.copied == second.frames)
    #expect(second.capsule.digest == first.capsule.digest)
    try tree.directory.run("printf 'a change' >tree/opt/25; rm tree/opt/12; printf new >tree/opt/00")
    let third = try await again()
    #expect((1..<third.frames).contains(third.copied))
    #expect(third.capsule.digest == (try await fresh()).digest)
  }

  @Test func `a change that keeps a file's size and time is seen all the same`() async throws {
    try addNoise()
    let first = try await again()
    try tree.directory.run(
      """
      touch -r tree/opt/25 stamp; printf changed | dd of=tree/opt/25 conv=notrunc status=none
      touch -r stamp tree/opt/25
      """)
    let second = try await again()
    #expect(second.capsule.digest != first.capsule.digest)
    #expect(second.capsule.digest == (try await fresh()).digest)
  }

  @Test func `a file that changed just before a build is read again by the next`() async throws {
    try addNoise()
    _ = try await build()
    let second = try await again()
    // All are known by their content, none by the files they are made of: the digests of all are made again.
    try tree.directory.run("rm -r tree/opt/25")
    #expect(try await again().capsule.digest == (try await fresh()).digest)
    #expect(second.copied == second.frames)
  }

  @Test func `frames damaged on the disk are made anew, and so are missing ones`() async throws {
    try addNoise()
    let first = try await again()
    let blob = store.path(of: first.capsule.rootFileSystem.digest)
    try state.run(
      "chmod u+w '\(blob)'; printf damage | dd of='\(blob)' bs=1 seek=4000000 conv=notrunc status=none")
    try tree.directory.run("printf 'a change' >tree/opt/11")
    #expect(try await again().capsule.digest == (try await fresh()).digest)
    try state.run("rm -f '\(blob)' blobs/sha256/*; printf nonsense >cache/$(ls cache)")
    #expect(try await again().capsule.digest == (try await fresh()).digest)
  }

  @Test(.enabled(if: isRoot)) func `a disk that is full in a second build is named, and nothing is lost`() async throws
  {
    try addNoise()
    try tree.directory.run("mkdir small; mount -t tmpfs -o size=256m small small")
    defer { _ = try? tree.directory.run("umount -l small") }
    let store = try ContentStore(directory: "\(tree.directory.path)/small")
    var builder = CapsuleBuilder(store: store)
    builder.settlingSeconds = -1
    let first = try await builder.build(request())
    let before = try tree.directory.run("cd small; find . -type f -exec sha256sum {} + | sort")
    try tree.directory.run(
      """
      printf 'a change' >tree/opt/25
      mount -o remount,size=$(($(df --output=used -B1 small | tail -1) + 3000000)) small
      """)
    await #expect {
      _ = try await builder.build(request())
    } throws: {
      ($0 as? CapsuleError)?.code == .noSpace
    }
    #expect(try tree.directory.run("cd small; find . -type f -exec sha256sum {} + | sort") == before)
    try tree.directory.run("mount -o remount,size=256m small")
    #expect(try await builder.build(request()).digest != first.digest)
  }

  @Test func `stage 1 and the initramfs of an earlier build are kept while their inputs are the same`() async throws {
    let first = try await again()
    try tree.directory.run("printf 'a change' >tree/etc/motd")
    let second = try await again()
    #expect(second.capsule.initramfs == first.capsule.initramfs)
    #expect(second.capsule.stage1 == first.capsule.stage1)
    try tree.directory.run("printf other >tree/usr/lib/firmware/acme/card.bin")
    try tree.directory.write(SyntheticTree.elf(modinfo: ["another"], machine: 62), to: "perseid-node")
    let third = try await again()
    #expect(third.capsule.initramfs != first.capsule.initramfs)
    #expect(third.capsule.stage1 != first.capsule.stage1)
    #expect(third.capsule.digest == (try await fresh()).digest)
  }
}
