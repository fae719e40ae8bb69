"""Archives and deletions, what workers measure and print, analyses kept"""

# fmt: off
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('study', sa.Column('archived_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('study', sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f('ix_study_deleted_at'), 'study', ['deleted_at'], postgresql_where=sa.text('deleted_at IS NOT NULL'))
    op.create_index(op.f('ix_trial_state'), 'trial', ['study_id', 'state', 'number'])
    op.add_column('worker', sa.Column('stats', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    op.create_table(
        'log_line',
        sa.Column('trial_id', sa.BigInteger(), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('position', sa.BigInteger(), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
        sa.Column('stream', sa.String(), nullable=False),
        sa.Column('text', sa.String(), nullable=False),
        sa.CheckConstraint("stream IN ('out', 'err', 'ladder')", name=op.f('ck_log_line_stream')),
        sa.PrimaryKeyConstraint('trial_id', 'attempt', 'position', name=op.f('pk_log_line')),
    )
    op.create_table(
        'analysis',
        sa.Column('study_id', sa.Uuid(), nullable=False),
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('key', sa.String(), nullable=False),
        sa.Column('state', sa.String(), nullable=False),
        sa.Column('question', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column('basis', sa.BigInteger(), nullable=False),
        sa.Column('result', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column('error', sa.String(), nullable=True),
        sa.Column('requested_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
        sa.Column('computed_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'computing', 'done', 'failed')", name=op.f('ck_analysis_state')),
        sa.ForeignKeyConstraint(['study_id'], ['study.id'], name=op.f('fk_analysis_study_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('study_id', 'kind', 'key', name=op.f('pk_analysis')),
    )


def downgrade() -> None:
    op.drop_table('analysis')
    op.drop_table('log_line')
    op.drop_column('worker', 'stats')
    op.drop_index(op.f('ix_trial_state'), table_name='trial')
    op.drop_index(op.f('ix_study_deleted_at'), table_name='study')
    op.drop_column('study', 'deleted_at')
    op.drop_column('study', 'archived_at')
