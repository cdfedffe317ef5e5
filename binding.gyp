{
  'targets': [
    {
      'target_name': 'trivet_pkcs11',
      'sources': [
        'native/p11/mechanism.cc',
        'native/p11/module.cc',
        'native/p11/oaep.cc',
        'native/p11/operation.cc',
        'native/p11/session.cc',
        'native/p11/template.cc',
        'native/addon/addon.cc',
        'native/addon/environment.cc',
        'native/addon/job.cc',
        'native/addon/library_object.cc',
        'native/addon/session_object.cc',
        'native/addon/session_operations.cc',
        'native/addon/public_key_object.cc',
        'native/addon/values.cc',
        'native/public/public_key.cc',
      ],
      'include_dirs': ['native/include', 'native/p11', 'native/public', 'native/addon'],
      'defines': ['NAPI_VERSION=8', 'NAPI_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'cflags!': ['-fno-exceptions'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': [
        '-std=c++17', '-fexceptions', '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror',
        # Headers of other people are not ours to correct.
        '-isystem', '<!(node -p "require(\'node:path\').dirname(require.resolve(\'node-addon-api\'))")',
      ],
      # Never unloaded: a worker that was the last user would take the code away under the exit handler.
      'ldflags': ['-Wl,-z,nodelete'],
      'libraries': ['-ldl'],
    },
  ],
}
