"""Archives and deletions, what workers measure and print, analyses kept"""

# fmt: off
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

# The transitions of a trial as they are from here on: extend opens trials again, retry queues them.
TRIAL_EDGES = """
CREATE OR REPLACE FUNCTION trial_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state, NEW.state) NOT IN (
    ('queued', 'cancelled'),
    ('queued', 'pruned'),
    ('queued', 'running'),
    ('running', 'cancelled'),
    ('running', 'complete'),
    ('running', 'failed'),
    ('running', 'paused'),
    ('running', 'pruned'),
    ('running', 'queued'),
    ('paused', 'cancelled'),
    ('paused', 'pruned'),
    ('paused', 'queued'){more}) THEN
    RAISE EXCEPTION 'a trial cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'trial_edge';
  END IF;
  RETURN NEW;
END $$;
"""
NEW_EDGES = """,
    ('pruned', 'paused'),
    ('pruned', 'queued'),
    ('failed', 'queued'),
    ('cancelled', 'queued')"""


def upgrade() -> None:
    op.execute(TRIAL_EDGES.replace('{more}', NEW_EDGES))
    op.add_column('study', sa.Column('archived_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('study', sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f('ix_study_deleted_at'), 'study', ['deleted_at'], postgresql_where=sa.text('deleted_at IS NOT NULL'))
    op.create_index(op.f('ix_trial_state'), 'trial', ['study_id', 'state', 'number'])
    op.create_index('ix_event_requeued', 'event', ['study_id', 'seq'], postgresql_where=sa.text("type = 'trial-requeued'"))
    op.add_column('worker', sa.Column('stats', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    op.add_column('study', sa.Column('closed', sa.Integer(), server_default='0', nullable=False))
    op.create_check_constraint(op.f('ck_study_closed'), 'study', 'closed >= 0')
    op.add_column('trial', sa.Column('device_seconds', sa.DOUBLE_PRECISION(), server_default='0', nullable=False))
    op.add_column('trial', sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('trial', sa.Column('closed_from', sa.String(), nullable=True))
    op.create_check_constraint(op.f('ck_trial_closed_from'), 'trial', "closed_from IN ('queued', 'paused')")
    op.create_index('ix_trial_closed', 'trial', ['study_id', 'closed_from', 'number'], postgresql_where=sa.text('closed_from IS NOT NULL'))
    op.add_column('worker', sa.Column('instance', sa.Uuid(), nullable=True))
    op.execute("""UPDATE trial SET device_seconds = a.seconds, claimed_at = a.claimed_at FROM (
      SELECT trial_id, sum(device_seconds) AS seconds, max(started_at) AS claimed_at FROM attempt GROUP BY trial_id) a
      WHERE a.trial_id = trial.id""")
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
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('computed_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'computing', 'done', 'failed')", name=op.f('ck_analysis_state')),
        sa.ForeignKeyConstraint(['study_id'], ['study.id'], name=op.f('fk_analysis_study_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('study_id', 'kind', 'key', name=op.f('pk_analysis')),
    )


def downgrade() -> None:
    op.drop_table('analysis')
    op.drop_table('log_line')
    op.drop_column('worker', 'instance')
    op.drop_index('ix_trial_closed', table_name='trial', postgresql_where=sa.text('closed_from IS NOT NULL'))
    op.drop_constraint(op.f('ck_trial_closed_from'), 'trial')
    for column in ('closed_from', 'claimed_at', 'device_seconds'):
        op.drop_column('trial', column)
    op.drop_constraint(op.f('ck_study_closed'), 'study')
    op.drop_column('study', 'closed')
    op.drop_column('worker', 'stats')
    op.drop_index('ix_event_requeued', table_name='event', postgresql_where=sa.text("type = 'trial-requeued'"))
    op.drop_index(op.f('ix_trial_state'), table_name='trial')
    op.drop_index(op.f('ix_study_deleted_at'), table_name='study')
    op.drop_column('study', 'deleted_at')
    op.drop_column('study', 'archived_at')
    op.execute(TRIAL_EDGES.replace('{more}', ''))
