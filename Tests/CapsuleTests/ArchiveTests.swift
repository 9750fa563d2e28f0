import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// `.capsule` files: made, taken in again, carried by other people's tools, and refused where they are not whole.
@Suite struct ArchiveTests {
  let made: CapsuleBuilderTests
  let capsule: StoredCapsule
  let directory: TemporaryDirectory
  /// Where capsules are imported to: nothing is there yet.
  let other: ContentStore

  init() async throws {
    made = try CapsuleBuilderTests()
    try made.tree.directory.run("head -c 3000000 /dev/urandom >tree/usr/large")
    capsule = try await made.build()
    directory = try TemporaryDirectory()
    other = try ContentStore(directory: "\(directory.path)/other")
  }

  private var file: String { "\(directory.path)/a.capsule" }

  private func export() throws { _ = try CapsuleArchive.export(capsule, from: made.store, to: file) }

  private var imported: [String] {
    get throws { try directory.run("find other -type f").split(separator: "\n").map(String.init) }
  }

  private func failure(_ name: String = "a.capsule") async -> CapsuleError? {
    do {
      _ = try await CapsuleArchive.import("\(directory.path)/\(name)", into: other)
    } catch { return error as? CapsuleError }
    return nil
  }

  @Test func `a capsule that was exported is imported elsewhere with the same digest`() async throws {
    let size = try CapsuleArchive.export(
      capsule, from: made.store, to: file, annotations: ["com.example.note": "beside"])
    #expect(try directory.run("stat -c %s a.capsule") == "\(size)\n")
    #expect(try CapsuleArchive.isCapsule(file))
    let (found, annotations) = try await CapsuleArchive.import(file, into: other)
    #expect(found == capsule)
    #expect(annotations == ["com.example.note": "beside"])
    #expect(try imported.allSatisfy { $0.hasPrefix("other/blobs/sha256/") })
    // And again, where all of it is there already.
    #expect(try await CapsuleArchive.import(file, into: other).capsule == capsule)
  }

  @Test func `the same capsule is always the same file, readable by tar`() throws {
    try export()
    _ = try CapsuleArchive.export(capsule, from: made.store, to: "\(directory.path)/b.capsule")
    try directory.run("cmp a.capsule b.capsule")
    let names = try directory.run("tar -tf a.capsule").split(separator: "\n").map(String.init)
    #expect(names.prefix(4) == ["oci-layout", "index.json", "blobs/", "blobs/sha256/"])
    #expect(names.count == 4 + 2 + capsule.manifest.layers.count)
  }

  @Test func `the entries of the file may come in any order, with other tars' headers`() async throws {
    try export()
    try directory.run(
      """
      mkdir x; tar -C x -xf a.capsule; cd x
      printf '[]' >manifest.json
      find . -type f | sort -r | tar --format=gnu -cf ../gnu -T -
      find . | sort | tar --format=posix --no-recursion -cf ../pax -T -
      """)
    #expect(try CapsuleArchive.isCapsule("\(directory.path)/gnu"))
    #expect(try await CapsuleArchive.import("\(directory.path)/gnu", into: other).capsule == capsule)
    #expect(try await CapsuleArchive.import("\(directory.path)/pax", into: other).capsule == capsule)
  }

  @Test func `trees, images and noise are no capsules`() throws {
    try directory.run(
      """
      tar -C '\(made.tree.source)' -cf tree.tar .; head -c 4096 /dev/urandom >noise; : >empty; printf short >short
      mkdir -p i/blobs/sha256; cd i; printf '{"imageLayoutVersion":"1.0.0"}' >oci-layout
      printf '{"schemaVersion":2,"config":{},"layers":[]}' >m
      d=$(sha256sum m | cut -d' ' -f1); mv m blobs/sha256/$d
      printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":43}]}' $d >index.json
      tar -cf ../image.tar oci-layout index.json blobs
      """)
    for name in ["tree.tar", "noise", "empty", "short", "image.tar", "."] {
      #expect(try !CapsuleArchive.isCapsule("\(directory.path)/\(name)"), "\(name)")
    }
  }

  // MARK: Other people's tools

  @Test(.enabled(if: isInstalled("skopeo"))) func `skopeo reads the file's manifest as it is`() throws {
    try export()
    try directory.run("skopeo --insecure-policy inspect --raw oci-archive:a.capsule >manifest")
    #expect(try Digest(of: directory.read("manifest")) == capsule.digest)
  }

  @Test(.enabled(if: isInstalled("skopeo") && isInstalled("docker-registry")))
  func `a registry carries a capsule, and gives it back with the same digest`() async throws {
    try export()
    try directory.run(
      """
      printf 'version: 0.1\\nstorage: { filesystem: { rootdirectory: %s/registry } }\\nhttp: { addr: 127.0.0.1:0 }\\n' \
        "$PWD" >registry.yml
      mkfifo log; docker-registry serve registry.yml >log 2>&1 & registry=$!
      trap 'kill $registry' EXIT
      exec 3<log
      while read -r line <&3; do
        case $line in *'listening on 127.0.0.1:'*) port=${line##*127.0.0.1:}; port=${port%%[!0-9]*}; break; esac
      done
      cat <&3 >registry.log &
      skopeo --insecure-policy copy -q --dest-tls-verify=false oci-archive:a.capsule docker://127.0.0.1:$port/c:1
      skopeo --insecure-policy copy -q --src-tls-verify=false docker://127.0.0.1:$port/c:1 oci-archive:back.capsule
      """)
    #expect(try CapsuleArchive.isCapsule("\(directory.path)/back.capsule"))
    #expect(try await CapsuleArchive.import("\(directory.path)/back.capsule", into: other).capsule == capsule)
  }

  // MARK: Bad input

  @Test func `a file that breaks off anywhere is refused, and nothing of it is kept`() async throws {
    try export()
    let size = try directory.read("a.capsule").count
    for length in [512, 1024, 1500, 4096, size / 2, size - 3_000_000, size - 1024 - 512, size - 1024] {
      try directory.run("head -c \(length) a.capsule >part.capsule")
      let found = try #require(await failure("part.capsule"), "\(length)")
      #expect(found.code == .badArchive, "\(length)")
      #expect(found.description.contains("part.capsule"))
    }
    #expect(try imported == [])
  }

  /// The file unpacked, changed and packed again.
  private func alter(_ script: String) throws {
    try export()
    try directory.run(
      """
      rm -rf x; mkdir x; tar -C x -xf a.capsule; cd x; chmod -R u+w .
      root=blobs/sha256/\(capsule.rootFileSystem.digest.hexadecimal)
      manifest=blobs/sha256/\(capsule.digest.hexadecimal)
      index=blobs/sha256/\(capsule.frameIndex.digest.hexadecimal)
      remake() {
        new=$(sha256sum $manifest | cut -d' ' -f1); size=$(stat -c %s $manifest); mv $manifest blobs/sha256/$new
        sed -i "s/\\"digest\\":\\"sha256:[0-9a-f]*\\"/\\"digest\\":\\"sha256:$new\\"/; s/\\"size\\":[0-9]*/\\"size\\":$size/" index.json
      }
      \(script)
      tar -cf ../a.capsule *
      """)
  }

  @Test(arguments: [
    "printf damage | dd of=$root conv=notrunc seek=1000 bs=1 status=none", "printf x >>$root", "rm $root",
    "rm $index", "truncate -s 100 $index", "printf '{' >index.json", "rm index.json", "rm $manifest",
    "printf x >>$manifest", "sed -i 's/\"size\":[0-9]*/\"size\":99999999999999/g' $manifest; remake",
    "sed -i 's/\"size\":[0-9]*/\"size\":-1/g' $manifest; remake",
    "sed -i 's/capsule.kernel.v1/capsule.colonel.v1/' $manifest; remake",
    "sed -i 's/\"schemaVersion\":2/\"schemaVersion\":3/' $manifest; remake", "printf nonsense >$manifest; remake",
    "truncate -s 5M $manifest; remake", "sed -i 's/sha256:/sha512:/' index.json",
    "mv $root hole; truncate -s 1T hole; mv hole $root; exec tar -S -cf ../a.capsule oci-layout index.json blobs",
  ])
  func `a file with a wrong, missing or absurd part is refused, and nothing of it is kept`(
    _ script: String
  ) async throws {
    try alter(script)
    let found = try #require(await failure())
    #expect(found.code == .badArchive)
    #expect(found.description.contains("a.capsule"))
    #expect(try imported == [])
  }

  @Test func `a manifest that names very many layers is refused before they are looked for`() async throws {
    var manifest = capsule.manifest
    let blob = capsule.kernel
    manifest.layers += Array(repeating: blob, count: 20_000)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try directory.write(Array(try encoder.encode(manifest)), to: "many")
    try alter("cp ../many $manifest; remake")
    let found = try #require(await failure())
    #expect(found.description.contains("\(manifest.layers.count) layers"))
    #expect(try imported == [])
  }

  @Test(.enabled(if: isRoot)) func `a full disk is named, and neither import nor export keeps anything`() async throws {
    try export()
    try directory.run("mkdir small; mount -t tmpfs -o size=1m small small")
    defer { _ = try? directory.run("umount -l small") }
    let small = try ContentStore(directory: "\(directory.path)/small")
    var failures: [CapsuleError?] = []
    do { _ = try await CapsuleArchive.import(file, into: small) } catch { failures.append(error as? CapsuleError) }
    do {
      _ = try CapsuleArchive.export(capsule, from: made.store, to: "\(directory.path)/small/b.capsule")
    } catch { failures.append(error as? CapsuleError) }
    #expect(failures.map { $0?.code } == [.noSpace, .noSpace])
    #expect(try directory.run("find small -type f") == "")
  }

  @Test func `a cancelled import or export leaves nothing`() async throws {
    try export()
    let (file, directory, other, store, capsule) = (file, directory, other, made.store, capsule)
    let importing = Task {
      try await CapsuleArchive.import(file, into: other) { _ in withUnsafeCurrentTask { $0?.cancel() } }.capsule
    }
    await #expect(throws: CancellationError.self) { try await importing.value }
    let target = "\(directory.path)/b.capsule"
    let exporting = Task {
      try CapsuleArchive.export(capsule, from: store, to: target) { _ in withUnsafeCurrentTask { $0?.cancel() } }
    }
    await #expect(throws: CancellationError.self) { try await exporting.value }
    #expect(try imported == [])
    #expect(try directory.run("ls") == "a.capsule\nother\n")
  }

  @Test func `damage in the store is not exported, and a file that is there stays as it was`() throws {
    try directory.run("printf before >a.capsule")
    let blob = made.store.path(of: capsule.kernel.digest)
    try directory.run("chmod u+w '\(blob)'; printf X | dd of='\(blob)' conv=notrunc status=none")
    #expect { try export() } throws: { ($0 as? CapsuleError)?.code == .damagedBlob }
    #expect(try directory.run("cat a.capsule; ls") == "beforea.capsule\nother\n")
  }
}
