//! Generates the service's client and server. Written out here instead of in a `.proto` file, so that the example
//! builds without `protoc`; yours would call `tonic_prost_build::compile_protos`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let codec = "tonic_prost::ProstCodec";
    let list = Method::builder()
        .name("list")
        .route_name("List")
        .input_type("crate::ListRequest")
        .output_type("crate::Artifacts")
        .codec_path(codec)
        .build();
    let put = Method::builder()
        .name("put")
        .route_name("Put")
        .input_type("crate::Artifact")
        .output_type("crate::Artifact")
        .codec_path(codec)
        .build();
    let watch = Method::builder()
        .name("watch")
        .route_name("Watch")
        .input_type("crate::ListRequest")
        .output_type("crate::Artifact")
        .server_streaming()
        .codec_path(codec)
        .build();
    let service = Service::builder()
        .name("ArtifactStore")
        .package("artifacts.v1")
        .method(list)
        .method(put)
        .method(watch)
        .build();
    Builder::new().compile(&[service]);
}
