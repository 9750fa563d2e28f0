import ArgumentParser
import Capsule
import CapsuleFormat
import Provisioner

/// `perseid key ...`: the files below keys/ in the state directory, which a running appliance reads too.
struct KeyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "Keys that capsules are signed with, and those that are trusted.",
    subcommands: [KeyCreate.self, KeyList.self, KeyTrust.self, KeyDelete.self])

  static func keyring(_ common: CommonOptions) throws -> Keyring {
    Keyring(directory: try common.configuration().paths.keys)
  }
}

/// A key as the verbs show it.
struct KeyView: Encodable {
  var name: String
  /// SHA-256 of its SubjectPublicKeyInfo.
  var id: String
  /// Whether there is a private part to sign with.
  var canSign: Bool
  /// The public key's file.
  var file: String

  init(_ entry: Keyring.Entry, _ keyring: Keyring) {
    name = entry.name
    id = entry.key.identifier.description
    canSign = entry.canSign
    file = keyring.publicPath(entry.name)
  }
}
