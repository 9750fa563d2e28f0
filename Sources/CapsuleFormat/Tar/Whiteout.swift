/// How a layer of a container image says that something of the layers below is gone: an empty file beside it.
package enum Whiteout {
  package static let prefix = Array(".wh.".utf8)
}
