import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The keys that an appliance signs with, and those whose signatures it trusts: `keys/NAME.key` (PKCS #8, for the
/// owner alone) and `keys/NAME.pub` in the state directory. Whose public key is there is trusted.
package struct Keyring: Hashable, Sendable {
  package let directory: String

  package init(directory: String) {
    self.directory = directory
  }

  package struct Entry: Hashable, Sendable {
    package var name: String
    package var key: PublicKey
    /// Whether it is one to sign with.
    package var canSign: Bool
  }

  /// Largest key file that is read, in bytes.
  private static let sizeLimit = 16 << 10

  /// All keys by name; files that are none are passed over.
  package func entries() throws(CapsuleError) -> [Entry] {
    guard let listing = opendir(directory) else {
      if errno == ENOENT { return [] }
      throw .reading(directory, errno: errno)
    }
    defer { closedir(listing) }
    var entries: [Entry] = []
    while let item = readdir(listing) {
      let file = withUnsafeBytes(of: &item.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard file.hasSuffix(".pub"), let text = try? Self.text("\(directory)/\(file)"), let key = PublicKey(pem: text)
      else { continue }
      let name = String(file.dropLast(4))
      entries.append(Entry(name: name, key: key, canSign: access(privatePath(name), F_OK) == 0))
    }
    return entries.sorted { $0.name < $1.name }
  }

  /// Makes a key to sign with.
  package func create(_ name: String) throws(CapsuleError) -> Entry {
    try checkFree(name)
    let key = PrivateKey()
    guard let publicKey = key.publicKey else {
      throw CapsuleError(.badKey, "No key could be made", remedy: "Try again")
    }
    try write(key.pem, to: privatePath(name), mode: 0o600)
    try write(publicKey.pem, to: publicPath(name), mode: 0o644)
    return Entry(name: name, key: publicKey, canSign: true)
  }

  /// Trusts the signatures of a public key.
  ///
  /// - Parameter path: A PEM file.
  package func trust(_ path: String, as name: String) throws(CapsuleError) -> Entry {
    let text = try Self.text(path)
    guard let key = PublicKey(pem: text) else {
      let isPrivate = text.contains("PRIVATE KEY")
      throw CapsuleError(
        .badKey,
        isPrivate
          ? "\(path) is a private key, which its owner should never have sent"
          : "\(path) is not an Ed25519 public key in PEM",
        remedy: "Take the file of the public key: `perseid key list` names it on the machine where it was made, "
          + "and `openssl pkey -in PRIVATE -pubout` makes it")
    }
    if let other = try entries().first(where: { $0.key == key }) {
      throw CapsuleError(.badKey, "This key is trusted already, as \(other.name)", remedy: "There is nothing to do")
    }
    try checkFree(name)
    try write(key.pem, to: publicPath(name), mode: 0o644)
    return Entry(name: name, key: key, canSign: false)
  }

  /// Forgets a key, its private part too.
  package func delete(_ name: String) throws(CapsuleError) -> Entry {
    let entry = try entry(name)
    for path in [privatePath(name), publicPath(name)] where unlink(path) != 0 && errno != ENOENT {
      throw .writing(path, errno: errno)
    }
    return entry
  }

  package func entry(_ name: String) throws(CapsuleError) -> Entry {
    let entries = try entries()
    guard let entry = entries.first(where: { $0.name == name }) else {
      let names = entries.map(\.name).joined(separator: ", ")
      throw CapsuleError(
        .badKey, "There is no key '\(name)'" + (names.isEmpty ? "" : "; there are: \(names)"),
        remedy: "Make one: perseid key create NAME; or trust somebody's: perseid key trust FILE")
    }
    return entry
  }

  /// The private part of a key.
  package func privateKey(_ name: String) throws(CapsuleError) -> PrivateKey {
    let entry = try entry(name)
    guard entry.canSign else {
      throw CapsuleError(
        .badKey, "Of the key '\(name)' only the public part is here: its signatures are trusted, and others make them",
        remedy: "Sign with a key of your own: perseid key create NAME")
    }
    guard let key = PrivateKey(pem: try Self.text(privatePath(name))), key.publicKey == entry.key else {
      throw CapsuleError(
        .badKey, "\(privatePath(name)) is not the private key that belongs to \(publicPath(name))",
        remedy: "Put the right file there, or delete the key and make another")
    }
    return key
  }

  package func publicPath(_ name: String) -> String { "\(directory)/\(name).pub" }

  private func privatePath(_ name: String) -> String { "\(directory)/\(name).key" }

  private func checkFree(_ name: String) throws(CapsuleError) {
    guard CapsuleName.isValid(name) else {
      throw CapsuleError(
        .badName, "'\(name)' cannot be the name of a key", remedy: "Choose another: \(CapsuleName.allowed)")
    }
    guard access(publicPath(name), F_OK) != 0, access(privatePath(name), F_OK) != 0 else {
      throw CapsuleError(
        .badKey, "There is a key '\(name)' already",
        remedy: "Choose another name, or delete it: perseid key delete \(name)")
    }
  }

  private static func text(_ path: String) throws(CapsuleError) -> String {
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw .reading(path, errno: errno) }
    var bytes = [UInt8](repeating: 0, count: sizeLimit)
    guard let count = bytes.withUnsafeMutableBytes({ file.fill($0) }) else { throw .reading(path, errno: errno) }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  private func write(_ text: String, to path: String, mode: mode_t) throws(CapsuleError) {
    if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw .writing(directory, errno: errno) }
    guard let file = FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: mode),
      Array(text.utf8).withUnsafeBytes({ file.writeAll($0) }), fsync(file.number) == 0
    else { throw .writing(path, errno: errno) }
  }
}
